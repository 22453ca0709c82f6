import { CideryError } from '../base/error.ts';
import { limits } from '../base/limits.ts';
import { BoundedQueue } from '../base/queue.ts';
import type { GenerateOptions, PromptInput, RequestMessage } from '../engine/protocol.ts';
import type { Instance } from './instance.ts';
import { faultError } from './rank-client.ts';

export type GenerationEvent = Extract<RequestMessage, { type: 'delta' | 'finished' | 'done' }>;

/** An answer under way. */
export interface Generation {
  readonly promptIds: readonly number[];
  /**
   * Ends after `done`; throws the coded error that ended it. Leaving the loop early cancels the
   * request.
   */
  readonly events: AsyncIterable<GenerationEvent>;
}

/**
 * Runs one request on an instance. Resolves when the rank has taken it in, so that what can be
 * refused is refused before a byte of an answer is sent. The signal cancels it at any moment.
 */
export function startGeneration(
  instance: Instance,
  id: string,
  input: PromptInput,
  options: GenerateOptions,
  signal: AbortSignal,
): Promise<Generation> {
  const queue = new BoundedQueue<GenerationEvent>(limits.generationEventsMax);
  let open = true;
  return new Promise((resolve, reject) => {
    const close = () => {
      signal.removeEventListener('abort', onAbort);
      open = false;
    };
    const cancel = (reason: unknown) => {
      if (!open) return;
      close();
      instance.cancel(id);
      queue.fail(reason);
      reject(reason);
    };
    const onAbort = () => cancel(signal.reason);
    const fail = (error: CideryError) => {
      close();
      queue.fail(error);
      reject(error);
    };
    const onMessage = (message: RequestMessage) => {
      switch (message.type) {
        case 'started':
          resolve({ promptIds: message.promptIds, events: cancelling(queue, cancel) });
          return;
        case 'error':
          fail(faultError(message.fault));
          return;
        case 'reply':
          fail(new CideryError('rank_protocol', 'the rank answered a generation with a reply'));
          return;
        case 'delta':
        case 'finished':
        case 'done':
          if (!queue.push(message)) return cancel(tooSlow());
          if (message.type !== 'done') return;
          close();
          queue.end();
      }
    };
    if (signal.aborted) return reject(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      instance.request({ type: 'generate', id, input, options }, { onMessage, onLost: fail });
    } catch (error) {
      close();
      reject(error);
    }
  });
}

function tooSlow(): CideryError {
  return new CideryError('consumer_too_slow', 'the client does not read its answer');
}

async function* cancelling(
  queue: BoundedQueue<GenerationEvent>,
  cancel: (reason: unknown) => void,
): AsyncGenerator<GenerationEvent, void, void> {
  try {
    yield* queue;
  } finally {
    cancel(new CideryError('cancelled', 'the answer was no longer wanted'));
  }
}
