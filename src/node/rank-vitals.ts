import { CideryError } from '../base/error.ts';
import { limits } from '../base/limits.ts';

/**
 * Judges from what comes of a rank, and when, whether it lives. It knows no process and no clock:
 * it is told of both.
 */
export class RankVitals {
  readonly #stoppedMs: number;
  #checkedAt: number;
  #helloSeen = false;
  #openedSeen = false;
  #signSeen = false;
  #silentMs = 0;
  #signlessMs = 0;
  #steplessMs = 0;
  #steps = -1;

  /** @param stoppedMs a process that gives no sign of life for so long is stopped */
  constructor(stoppedMs: number, now: number) {
    this.#stoppedMs = stoppedMs;
    this.#checkedAt = now;
  }

  get isUp(): boolean {
    return this.#helloSeen;
  }

  /** A sign of life came from the rank's native thread. */
  sign(): void {
    this.#signSeen = true;
    this.#signlessMs = 0;
  }

  /** Its JavaScript has said something. */
  heard(): void {
    this.#silentMs = 0;
  }

  hello(): void {
    this.#helloSeen = true;
    this.#steplessMs = 0;
  }

  /** Its model is there: what blocks its JavaScript for long is behind it. */
  opened(): void {
    this.#openedSeen = true;
  }

  pong({ steps, running }: { readonly steps: number; readonly running: number }): void {
    if (steps !== this.#steps || running === 0) this.#steplessMs = 0;
    this.#steps = steps;
  }

  /** Why the rank has to be ended at this moment; null: it lives. */
  check(now: number): CideryError | null {
    // A daemon that was held up itself (stopped, or its machine asleep) has heard nobody: what it
    // missed counts as one turn, so that the rank's answers are read before it is judged.
    const elapsedMs = Math.min(now - this.#checkedAt, 2 * limits.rankPingMs);
    this.#checkedAt = now;
    this.#silentMs += elapsedMs;
    this.#signlessMs += elapsedMs;
    this.#steplessMs += elapsedMs;
    if (this.#signSeen && this.#signlessMs >= this.#stoppedMs) {
      return ended(
        'rank_stopped',
        `gave no sign of life for ${this.#stoppedMs} ms (it is stopped)`,
      );
    }
    if (!this.#helloSeen) {
      return this.#steplessMs > limits.rankHelloMs
        ? ended('rank_stuck', 'did not start in time')
        : null;
    }
    const mostSilentMs = this.#openedSeen ? limits.rankSilenceMs : limits.rankLoadingSilenceMs;
    if (this.#silentMs > mostSilentMs) return ended('rank_stuck', 'does not answer');
    if (this.#steplessMs > limits.rankStepMs) return ended('rank_stuck', 'does not finish a step');
    return null;
  }
}

function ended(code: string, what: string): CideryError {
  return new CideryError(code, `the model's process ${what} and was ended`);
}
