import { errorMessage, CideryError } from '../base/error.ts';
import type { Clock } from '../ports/clock.ts';
import type { NewSequence, Scheduler, SequenceEvent } from './scheduler.ts';
import { StepPace } from './step-pace.ts';
import { decodeResult, encodePlan } from './step-plan.ts';

/** Counts since the rank began. */
export interface StepCounts {
  promptTokens: number;
  generatedTokens: number;
}

export type StepClock = Pick<Clock, 'monotonic' | 'after'>;

/**
 * Runs step after step while there is work, one ahead of those that run. Sequences may be added and
 * removed at any moment; they join and leave between steps. A failed step is the end: the executor
 * is not used again.
 */
export class StepLoop {
  readonly counts: StepCounts = { promptTokens: 0, generatedTokens: 0 };
  readonly #step: (plan: Uint8Array) => Promise<Uint8Array>;
  readonly #scheduler: Scheduler;
  readonly #listeners = new Map<string, (event: SequenceEvent) => void>();
  readonly #stages: number;
  readonly #clock: StepClock;
  readonly #onFailure: (error: unknown) => void;
  #pace = new StepPace();
  #stepping = false;

  /**
   * `step`: the engine's, one after the other in the order of the calls. `stages`: of the pipeline
   * that the engine leads, 1 without one; each has a step to run.
   */
  constructor(
    step: (plan: Uint8Array) => Promise<Uint8Array>,
    scheduler: Scheduler,
    stages: number,
    clock: StepClock,
    onFailure: (error: unknown) => void,
  ) {
    this.#step = step;
    this.#scheduler = scheduler;
    this.#stages = stages;
    this.#clock = clock;
    this.#onFailure = onFailure;
  }

  get running(): number {
    return this.#scheduler.running;
  }

  get waiting(): number {
    return this.#scheduler.waiting;
  }

  /** Throws what `Scheduler.add` throws. */
  add(sequence: NewSequence, listener: (event: SequenceEvent) => void): void {
    this.#scheduler.add(sequence);
    this.#listeners.set(sequence.key, listener);
    if (!this.#stepping) {
      this.#stepping = true;
      void this.#run();
    }
  }

  /** The sequence's listener hears nothing more. */
  remove(key: string): void {
    this.#listeners.delete(key);
    this.#scheduler.remove(key);
  }

  async #run(): Promise<void> {
    try {
      // What is added in the same turn joins the first step.
      await Promise.resolve();
      const flying: Promise<Uint8Array>[] = [];
      this.#pace = new StepPace();
      for (;;) {
        this.#launch(flying, this.#stages);
        const spareMs = this.#spareMs(flying);
        if (spareMs === 0) this.#launch(flying, this.#stages + 1);
        this.#dispatch();
        if (spareMs > 0) {
          await this.#runsFor(flying, spareMs);
          this.#launch(flying, this.#stages + 1);
        }
        const oldest = flying.shift();
        if (oldest === undefined) break;
        this.#scheduler.complete(decodeResult(await oldest));
        this.#pace.ended(this.#clock.monotonic(), flying.length > 0);
      }
      this.#stepping = false;
    } catch (error) {
      this.#onFailure(asCoded(error));
    }
  }

  /** A pipeline has to be full at any moment. */
  #spareMs(flying: readonly Promise<Uint8Array>[]): number {
    const alone = this.#stages === 1 && flying.length === 1;
    return alone ? this.#pace.spareMs(this.#clock.monotonic()) : 0;
  }

  /** Resolves after `ms`, or when the running step has ended, however. */
  async #runsFor([running]: readonly Promise<Uint8Array>[], ms: number): Promise<void> {
    let stop = () => {};
    const passed = new Promise<void>((resolve) => (stop = this.#clock.after(ms, resolve)));
    await Promise.race([passed, Promise.resolve(running).catch(() => {})]);
    stop();
  }

  /** Keeps the step thread in work: the next step waits there when one ends. */
  #launch(flying: Promise<Uint8Array>[], most: number): void {
    while (flying.length < most) {
      const plan = this.#scheduler.plan();
      if (plan === null) return;
      this.#pace.began(this.#clock.monotonic());
      for (const { tokens } of plan.sequences) {
        if (tokens !== 'lastSample' && tokens.length > 1) this.counts.promptTokens += tokens.length;
      }
      const step = this.#step(encodePlan(plan));
      // When one fails those behind it fail too, and nobody waits for them.
      step.catch(() => {});
      flying.push(step);
    }
  }

  #dispatch(): void {
    for (const event of this.#scheduler.takeEvents()) {
      if (event.kind === 'token') this.counts.generatedTokens += 1;
      const listener = this.#listeners.get(event.key);
      if (event.kind !== 'admitted' && (event.kind !== 'token' || event.finish !== null)) {
        this.#listeners.delete(event.key);
      }
      listener?.(event);
    }
  }
}

/** A coded error as it is, with its hint; any other under the code that it bears. */
export function asCoded(error: unknown): CideryError {
  if (error instanceof CideryError) return error;
  const code = error instanceof Error && 'code' in error ? error.code : null;
  const known = typeof code === 'string' ? code : 'engine_failed';
  return new CideryError(known, errorMessage(error), { cause: error });
}
