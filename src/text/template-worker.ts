import { parentPort } from 'node:worker_threads';
import { CideryError, errorMessage, invariant } from '../base/error.ts';
import { renderTemplate, type TemplateJob } from './template-job.ts';

/** The thread that templates run in; `ChatTemplates` ends it when one does not come to an end. */
const port = parentPort;
invariant(port !== null, 'the template worker is a worker');
port.on('message', (job: TemplateJob) => {
  try {
    port.postMessage({ rendered: renderTemplate(job) });
  } catch (error) {
    const known = error instanceof CideryError;
    port.postMessage({
      fault: {
        code: known ? error.code : 'template_failed',
        message: errorMessage(error),
        hint: known ? (error.hint ?? null) : null,
      },
    });
  }
});
port.postMessage({ ready: true });
