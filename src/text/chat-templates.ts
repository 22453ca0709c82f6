import { Worker } from 'node:worker_threads';
import { CideryError } from '../base/error.ts';
import { limits } from '../base/limits.ts';
import type { RenderedTemplate, TemplateJob } from './template-job.ts';

interface Answer {
  readonly rendered?: RenderedTemplate;
  readonly fault?: {
    readonly code: string;
    readonly message: string;
    readonly hint: string | null;
  };
}

/**
 * Renders chat templates in a thread of its own, one at a time: a template is a stranger's program. One that runs
 * longer than `limits.templateTimeoutMs` or takes too much memory is ended with its thread, and costs that request.
 */
export class ChatTemplates {
  readonly #script: URL;
  #worker: Worker | null = null;
  #last: Promise<unknown> = Promise.resolve();

  /** `script`: the compiled template-worker. */
  constructor(script: URL) {
    this.#script = script;
  }

  /** Rejects with `template_timeout`, `template_too_large`, and what `renderTemplate` throws. */
  render(job: TemplateJob): Promise<RenderedTemplate> {
    const next = this.#last.then(() => this.#run(job));
    this.#last = next.catch(() => {});
    return next;
  }

  async close(): Promise<void> {
    await this.#worker?.terminate();
    this.#worker = null;
  }

  #run(job: TemplateJob): Promise<RenderedTemplate> {
    const worker = this.#worker ?? this.#start();
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => give(timedOut()), limits.templateTimeoutMs);
      const settle = () => {
        clearTimeout(timer);
        worker.off('message', onMessage).off('error', onError).off('exit', onExit);
      };
      const give = (error: CideryError) => {
        settle();
        this.#worker = null;
        // What an ended thread still says is nobody's.
        worker.on('error', () => {});
        void worker.terminate();
        reject(error);
      };
      const onMessage = ({ rendered, fault }: Answer) => {
        settle();
        if (rendered !== undefined) return resolve(rendered);
        const { code, message, hint } = fault ?? { code: 'internal', message: '', hint: null };
        reject(new CideryError(code, message, hint === null ? {} : { hint }));
      };
      const onError = (cause: Error) => give(outOfMemory(cause));
      const onExit = () => give(outOfMemory(undefined));
      worker.on('message', onMessage).on('error', onError).on('exit', onExit);
      worker.postMessage(job);
    });
  }

  #start(): Worker {
    const worker = new Worker(this.#script, {
      resourceLimits: { maxOldGenerationSizeMb: limits.templateMemoryMiB },
      // Its prints are nobody's business.
      stdout: true,
      stderr: true,
    });
    worker.unref();
    this.#worker = worker;
    return worker;
  }
}

function timedOut(): CideryError {
  return new CideryError(
    'template_timeout',
    `the chat template did not end within ${limits.templateTimeoutMs} ms`,
    { hint: 'the template loops or the messages are too many; try fewer messages' },
  );
}

function outOfMemory(cause: unknown): CideryError {
  return new CideryError('template_too_large', 'the chat template took too much memory', { cause });
}
