import { Worker } from 'node:worker_threads';
import { CideryError, type Fault, faultError } from '../base/error.ts';
import { limits } from '../base/limits.ts';
import type { RenderedTemplate, TemplateJob } from './template-job.ts';

/** What the thread says: that it is there, then an answer to each job. */
interface Answer {
  readonly ready?: boolean;
  readonly rendered?: RenderedTemplate;
  readonly fault?: Fault;
}

/**
 * Renders chat templates in a thread of its own, one at a time: a template is a stranger's program.
 * One that runs longer than `limits.templateTimeoutMs` or takes too much memory is ended with its
 * thread, and costs that request.
 */
export class ChatTemplates {
  readonly #script: URL;
  #worker: Worker | null = null;
  #last: Promise<unknown> = Promise.resolve();
  #waiting = 0;

  /** `script`: the compiled template-worker. */
  constructor(script: URL) {
    this.#script = script;
  }

  /**
   * Rejects with `template_timeout`, `template_too_large`, `template_busy`,
   * `template_worker_ended`, what `renderTemplate` throws, and the signal's reason when it is
   * aborted before the job's turn.
   */
  render(job: TemplateJob, signal?: AbortSignal): Promise<RenderedTemplate> {
    if (this.#waiting >= limits.templateJobsMax) return Promise.reject(busy());
    this.#waiting += 1;
    const next = this.#last.then(() => {
      signal?.throwIfAborted();
      return this.#run(job);
    });
    this.#last = next
      .catch(() => {})
      .finally(() => {
        this.#waiting -= 1;
      });
    return next;
  }

  async close(): Promise<void> {
    const worker = this.#worker;
    this.#worker = null;
    await worker?.terminate();
  }

  async #run(job: TemplateJob): Promise<RenderedTemplate> {
    const worker = this.#worker ?? (await this.#start());
    worker.postMessage(job);
    const { rendered, fault } = await this.#answer(worker, limits.templateTimeoutMs);
    if (rendered !== undefined) return rendered;
    throw faultError(fault ?? { code: 'internal', message: '', hint: null });
  }

  async #start(): Promise<Worker> {
    const worker = new Worker(this.#script, {
      resourceLimits: {
        maxOldGenerationSizeMb: limits.templateMemoryMiB,
        maxYoungGenerationSizeMb: limits.templateMemoryMiB / 8,
      },
      // Its prints are nobody's business.
      stdout: true,
      stderr: true,
    });
    // A thread that ends between two jobs is replaced at the next.
    worker.on('error', () => this.#drop(worker)).on('exit', () => this.#drop(worker));
    worker.unref();
    this.#worker = worker;
    await this.#answer(worker, limits.templateStartMs);
    return worker;
  }

  /** The thread's next message. When none comes in time, or the thread ends, it is given up. */
  #answer(worker: Worker, timeoutMs: number): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const settle = (): void => {
        clearTimeout(timer);
        worker.off('message', onMessage).off('error', onError).off('exit', onExit);
        worker.unref();
      };
      const giveUp = (error: CideryError): void => {
        settle();
        this.#drop(worker);
        reject(error);
      };
      const onMessage = (answer: Answer): void => {
        settle();
        resolve(answer);
      };
      const onError = (cause: Error): void => giveUp(ended(cause));
      const onExit = (): void => giveUp(ended(undefined));
      const timer = setTimeout(() => giveUp(timedOut(timeoutMs)), timeoutMs);
      worker.on('message', onMessage).on('error', onError).on('exit', onExit);
      // Whoever waits for a text keeps the process alive until it is there.
      worker.ref();
    });
  }

  #drop(worker: Worker): void {
    if (this.#worker === worker) this.#worker = null;
    void worker.terminate();
  }
}

function timedOut(timeoutMs: number): CideryError {
  return new CideryError(
    'template_timeout',
    `the chat template did not end within ${timeoutMs} ms`,
    { hint: 'the template loops or the messages are too many; try fewer messages' },
  );
}

/**
 * Memory is what a thread can run out of; anything else that ends it is not the template's doing.
 */
function ended(cause: unknown): CideryError {
  const code = cause instanceof Error && 'code' in cause ? cause.code : undefined;
  if (code !== 'ERR_WORKER_OUT_OF_MEMORY') {
    return new CideryError('template_worker_ended', 'the thread that renders chats ended', {
      hint: 'try again; if it stays so, the installation is broken',
      cause,
    });
  }
  return new CideryError('template_too_large', 'the chat template took too much memory', {
    hint: 'the template or the messages are too large; try fewer messages',
    cause,
  });
}

function busy(): CideryError {
  return new CideryError('template_busy', 'too many chats wait for their template', {
    hint: 'try again in a second',
  });
}
