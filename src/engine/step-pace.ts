import { limits } from '../base/limits.ts';

/** Steps whose shortest counts as what the running one takes at least. */
const remembered = 4;

/**
 * When the step behind the running one is due. It has to be with the addon before the running one
 * ends, or the machine stands still; until then it is better not planned, so that who comes
 * meanwhile joins it and not the one after it. Of steps that are over soon the next is due at once.
 */
export class StepPace {
  readonly #durationsMs: number[] = [];
  #beganMs: number | null = null;

  /** Nothing ran, and a step was launched. */
  began(nowMs: number): void {
    this.#beganMs ??= nowMs;
  }

  /** The running step has ended; when another is `waiting` it begins with that. */
  ended(nowMs: number, waiting: boolean): void {
    if (this.#beganMs !== null) {
      this.#durationsMs.push(nowMs - this.#beganMs);
      if (this.#durationsMs.length > remembered) this.#durationsMs.shift();
    }
    this.#beganMs = waiting ? nowMs : null;
  }

  /** Milliseconds for which the next step need not be planned. */
  spareMs(nowMs: number): number {
    if (this.#beganMs === null || this.#durationsMs.length < remembered) return 0;
    const shortestMs = Math.min(...this.#durationsMs);
    const leadMs = Math.max(limits.stepLeadMs, shortestMs * limits.stepLeadShare);
    return Math.max(0, Math.floor(this.#beganMs + shortestMs - leadMs - nowMs));
  }
}
