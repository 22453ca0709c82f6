import { CideryError, faultError } from '../base/error.ts';
import { limits } from '../base/limits.ts';
import { BoundedQueue } from '../base/queue.ts';
import type { GenerateOptions, PromptInput, RequestMessage } from '../engine/protocol.ts';
import { GenerationProgress } from './generation-progress.ts';
import type { Instance } from './instance.ts';

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
 * Runs one request on an instance. Resolves when a rank has taken it in, so that what can be
 * refused is refused before a byte of an answer is sent. When the rank is lost the request waits
 * for the next one and goes on where its events ended: nothing is repeated or lost. The signal
 * cancels it at any moment.
 */
export function startGeneration(
  instance: Instance,
  id: string,
  input: PromptInput,
  options: GenerateOptions,
  signal: AbortSignal,
): Promise<Generation> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason);
    new GenerationRun(instance, id, input, options, signal, { resolve, reject }).begin();
  });
}

/** A request from its first message to its end, over as many ranks as it takes. */
class GenerationRun {
  readonly #instance: Instance;
  readonly #id: string;
  readonly #input: PromptInput;
  readonly #options: GenerateOptions;
  readonly #signal: AbortSignal;
  readonly #caller: { resolve(generation: Generation): void; reject(reason: unknown): void };
  readonly #queue = new BoundedQueue<GenerationEvent>(limits.generationEventsMax);
  readonly #progress: GenerationProgress;
  /** Aborted when the request has ended, however. */
  readonly #over = new AbortController();
  readonly #onAbort = () => this.#cancel(this.#signal.reason);
  #leave: () => void = () => {};

  constructor(
    instance: Instance,
    id: string,
    input: PromptInput,
    options: GenerateOptions,
    signal: AbortSignal,
    caller: { resolve(generation: Generation): void; reject(reason: unknown): void },
  ) {
    this.#instance = instance;
    this.#id = id;
    this.#input = input;
    this.#options = options;
    this.#signal = signal;
    this.#caller = caller;
    this.#progress = new GenerationProgress(options.choices);
  }

  begin(): void {
    this.#signal.addEventListener('abort', this.#onAbort, { once: true });
    try {
      // Right now, so that a rank that is ready is asked in the caller's turn.
      const leave = this.#instance.admission.tryEnter();
      if (leave === null) void this.#sendWhenReady();
      else this.#send(leave);
    } catch (error) {
      this.#fail(error);
    }
  }

  #send(leave: () => void): void {
    this.#leave = leave;
    this.#instance.request(
      {
        type: 'generate',
        id: this.#id,
        input: this.#input,
        options: this.#options,
        resume: this.#progress.resume(),
      },
      { onMessage: (message) => this.#onMessage(message), onLost: (error) => this.#onLost(error) },
      this.#progress.hasLost,
    );
  }

  #onMessage(message: RequestMessage): void {
    switch (message.type) {
      case 'started':
        this.#progress.start(message.promptIds);
        this.#caller.resolve({ promptIds: message.promptIds, events: this.#events() });
        return;
      case 'error':
        return this.#fail(faultError(message.fault));
      case 'reply':
        return this.#fail(
          new CideryError('rank_protocol', 'the rank answered a generation with a reply'),
        );
      case 'delta':
      case 'finished':
      case 'done':
        this.#progress.take(message);
        if (!this.#queue.push(message)) return this.#cancel(tooSlow());
        if (message.type !== 'done') return;
        this.#close();
        this.#queue.end();
    }
  }

  #onLost(error: CideryError): void {
    this.#leave();
    this.#progress.lose(outsideCodes.has(error.code));
    if (error.code === 'instance_stopped') return this.#fail(error);
    if (this.#progress.fruitless > limits.fruitlessTriesMax) {
      return this.#fail(
        new CideryError(
          'request_given_up',
          `the model's process ended ${this.#progress.fruitless} times over this request, ` +
            `the last time with nothing else to do: ${error.message}`,
          { hint: 'change the request; `cidery logs` says what the process said', cause: error },
        ),
      );
    }
    void this.#sendWhenReady();
  }

  /** Waits for a rank that is ready and sends the request to it. */
  async #sendWhenReady(): Promise<void> {
    const over = this.#over.signal;
    try {
      // Whoever is the only one left in doubt runs alone: it can take nobody along.
      const alone = this.#progress.fruitless >= limits.fruitlessTriesMax;
      const leave = await this.#instance.admission.enter(alone, over);
      try {
        await this.#instance.ready(over);
      } catch (error) {
        leave();
        throw error;
      }
      this.#send(leave);
    } catch (error) {
      if (!over.aborted) this.#fail(error);
    }
  }

  #cancel(reason: unknown): void {
    if (this.#over.signal.aborted) return;
    this.#close();
    this.#instance.cancel(this.#id);
    this.#queue.fail(reason);
    this.#caller.reject(reason);
  }

  #fail(error: unknown): void {
    this.#close();
    this.#queue.fail(error);
    this.#caller.reject(error);
  }

  #close(): void {
    this.#signal.removeEventListener('abort', this.#onAbort);
    this.#over.abort();
    this.#leave();
  }

  async *#events(): AsyncGenerator<GenerationEvent, void, void> {
    try {
      yield* this.#queue;
    } finally {
      this.#cancel(new CideryError('cancelled', 'the answer was no longer wanted'));
    }
  }
}

/** No request stops a process or cuts a network. */
const outsideCodes = new Set(['rank_stopped', 'group_silent']);

function tooSlow(): CideryError {
  return new CideryError('consumer_too_slow', 'the client does not read its answer');
}
