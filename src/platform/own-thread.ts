import { parentPort, Worker, workerData } from 'node:worker_threads';
import { CideryError, type Fault, faultError, faultOf, invariant } from '../base/error.ts';

/** What a thread says before it ends. */
type Said =
  | { readonly kind: 'value'; readonly value: unknown }
  | { readonly kind: 'fault'; readonly fault: Fault };

/**
 * Runs a script, which calls `answerInThread`, in a thread of its own and returns its answer, so
 * that what takes long or much memory stops nobody else. Input and answer are copied. Rejects with
 * the coded error that the script ended with, and `thread_ended` when it came to no answer.
 */
export function runInThread(script: URL, input: unknown): Promise<unknown> {
  return new Promise((resolve, reject) => {
    // Options of this process are none of the thread's: one that was given a script by `-e` would
    // not read a file.
    const worker = new Worker(script, { workerData: input, execArgv: [] });
    worker.on('message', (said: Said) => {
      if (said.kind === 'value') resolve(said.value);
      else reject(faultError(said.fault));
    });
    worker.on('error', (cause) => reject(ended(cause)));
    // After its message, if there was one: it settles nothing a second time.
    worker.on('exit', () => reject(ended(undefined)));
  });
}

/** For the script of a thread: hands what it was given to `work`, and its answer back. */
export async function answerInThread(work: (input: unknown) => Promise<unknown>): Promise<void> {
  const port = parentPort;
  invariant(port !== null, 'the script of a thread runs in one');
  port.postMessage(await saidBy(work(workerData)));
}

function saidBy(answer: Promise<unknown>): Promise<Said> {
  return answer.then(
    (value): Said => ({ kind: 'value', value }),
    (error: unknown): Said => ({ kind: 'fault', fault: faultOf(error) }),
  );
}

function ended(cause: Error | undefined): CideryError {
  const reason = cause === undefined ? '' : `: ${cause.message}`;
  return new CideryError('thread_ended', `a thread ended before it was done${reason}`, {
    hint: 'end other programs if memory is short, and try again',
    cause,
  });
}
