import { parentPort } from 'node:worker_threads';
import { faultOf, invariant } from '../base/error.ts';
import { renderTemplate, type TemplateJob } from './template-job.ts';

/** The thread that templates run in; `ChatTemplates` ends it when one does not come to an end. */
const port = parentPort;
invariant(port !== null, 'the template worker is a worker');
port.on('message', (job: TemplateJob) => {
  try {
    port.postMessage({ rendered: renderTemplate(job) });
  } catch (error) {
    port.postMessage({ fault: faultOf(error, 'template_failed') });
  }
});
port.postMessage({ ready: true });
