import { errorMessage, CideryError } from '../base/error.ts';
import type { NewSequence, Scheduler, SequenceEvent } from './scheduler.ts';
import { decodeResult, encodePlan, type StepPlan } from './step-plan.ts';

/** Counts since the rank began. */
export interface StepCounts {
  promptTokens: number;
  generatedTokens: number;
}

/** What runs steps, one after the other in the order of the calls. */
export interface StepEngine {
  step(plan: Uint8Array): Promise<Uint8Array>;
  /** Drops the step that was asked for last; false when it has begun. */
  takeBack(): boolean;
}

/** A step that the engine has. */
interface Flight {
  readonly result: Promise<Uint8Array>;
  readonly promptTokens: number;
}

/**
 * Runs step after step while there is work, one ahead of those that run. Sequences may be added and
 * removed at any moment; they join and leave between steps. Who comes while a step waits for the
 * running one joins it: it is taken back and planned anew. A failed step is the end: the executor
 * is not used again.
 */
export class StepLoop {
  readonly counts: StepCounts = { promptTokens: 0, generatedTokens: 0 };
  readonly #engine: StepEngine;
  readonly #scheduler: Scheduler;
  readonly #listeners = new Map<string, (event: SequenceEvent) => void>();
  readonly #stages: number;
  readonly #onFailure: (error: unknown) => void;
  /** The oldest first. */
  readonly #flying: Flight[] = [];
  #state: 'idle' | 'stepping' | 'failed' = 'idle';
  #replanning = false;

  /** `stages`: of the pipeline that the engine leads, 1 without one; each has a step to run. */
  constructor(
    engine: StepEngine,
    scheduler: Scheduler,
    stages: number,
    onFailure: (error: unknown) => void,
  ) {
    this.#engine = engine;
    this.#scheduler = scheduler;
    this.#stages = stages;
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
    if (this.#state === 'idle') {
      this.#state = 'stepping';
      void this.#run();
    } else if (this.#state === 'stepping' && !this.#replanning) {
      this.#replanning = true;
      void this.#replan();
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
      for (;;) {
        this.#launch();
        this.#dispatch();
        const oldest = this.#flying[0];
        if (oldest === undefined) break;
        const result = decodeResult(await oldest.result);
        this.#flying.shift();
        this.counts.promptTokens += oldest.promptTokens;
        this.#scheduler.complete(result);
      }
      if (this.#state === 'stepping') this.#state = 'idle';
    } catch (error) {
      this.#fail(error);
    }
  }

  /** Those who were added in this turn join the step behind the running one. */
  async #replan(): Promise<void> {
    await Promise.resolve();
    this.#replanning = false;
    if (this.#state !== 'stepping') return;
    try {
      // A pipeline's steps begin one after the other, and none waits for long.
      // The oldest is what `#run` waits for: it stays, although it may not have begun.
      if (this.#stages === 1 && this.#flying.length > 1 && this.#scheduler.mayTakeBack) {
        if (this.#engine.takeBack()) {
          this.#flying.pop();
          this.#scheduler.takeBack();
        }
      }
      this.#launch();
    } catch (error) {
      this.#fail(error);
    }
  }

  /** Keeps the step thread in work: the next step waits there when one ends. */
  #launch(): void {
    while (this.#flying.length < this.#stages + 1) {
      const plan = this.#scheduler.plan();
      if (plan === null) return;
      const result = this.#engine.step(encodePlan(plan));
      // When one fails those behind it fail too, and nobody waits for them.
      result.catch(() => {});
      this.#flying.push({ result, promptTokens: promptTokensOf(plan) });
    }
  }

  /** Once: what follows from it is no news. */
  #fail(error: unknown): void {
    if (this.#state === 'failed') return;
    this.#state = 'failed';
    this.#onFailure(asCoded(error));
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

/** A single token counts as the sequence's last one. */
function promptTokensOf({ sequences }: StepPlan): number {
  return sequences.reduce(
    (sum, { tokens }) => (tokens !== 'lastSample' && tokens.length > 1 ? sum + tokens.length : sum),
    0,
  );
}

/** A coded error as it is, with its hint; any other under the code that it bears. */
export function asCoded(error: unknown): CideryError {
  if (error instanceof CideryError) return error;
  const code = error instanceof Error && 'code' in error ? error.code : null;
  const known = typeof code === 'string' ? code : 'engine_failed';
  return new CideryError(known, errorMessage(error), { cause: error });
}
