import type { Clock } from '../../ports/clock.ts';
import { HubError, type HubTuning } from './access.ts';

/**
 * One request's abort signal: it fires when the caller's does, and when a window of time has
 * brought too few bytes (so a server that drips a byte now and then is as dead as one that is
 * silent).
 */
export class StallGuard {
  readonly #clock: Clock;
  readonly #tuning: HubTuning;
  readonly #outer: AbortSignal;
  readonly #controller = new AbortController();
  readonly #aborted: Promise<never>;
  #bytes = 0;
  #cancelTimer: () => void = () => undefined;

  constructor(clock: Clock, tuning: HubTuning, outer: AbortSignal) {
    this.#clock = clock;
    this.#tuning = tuning;
    this.#outer = outer;
    const { signal } = this.#controller;
    this.#aborted = new Promise((_resolve, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason), { once: true });
    });
    // An abort that nobody waits for is no unhandled rejection.
    this.#aborted.catch(() => undefined);
    if (outer.aborted) this.#onOuterAbort();
    outer.addEventListener('abort', this.#onOuterAbort);
    this.#watch();
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** The promise, or the abort's reason as soon as there is one: what waits must not outlive it. */
  unlessAborted<T>(promise: Promise<T>): Promise<T> {
    return Promise.race([promise, this.#aborted]);
  }

  /** Counts what has come. */
  received(bytes: number): void {
    this.#bytes += bytes;
  }

  /** Begins a new window: an answer's head has come. */
  restart(): void {
    this.#cancelTimer();
    this.#bytes = 0;
    this.#watch();
  }

  end(): void {
    this.#cancelTimer();
    this.#outer.removeEventListener('abort', this.#onOuterAbort);
  }

  readonly #onOuterAbort = (): void => this.#controller.abort(this.#outer.reason);

  #watch(): void {
    this.#cancelTimer = this.#clock.after(this.#tuning.stallMs, () => {
      if (this.#bytes < this.#tuning.stallMinBytes) this.#controller.abort(this.#stalled());
      else this.restart();
    });
  }

  #stalled(): HubError {
    const seconds = Math.round(this.#tuning.stallMs / 1000);
    return new HubError('download_stalled', `the hub sent next to nothing for ${seconds} s`, {
      hint: 'check the connection and pull again; what has come is kept',
      retry: true,
    });
  }
}
