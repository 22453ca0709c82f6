import { errorMessage, CideryError } from '../base/error.ts';
import type { Addon, EngineHandle } from './addon.ts';
import type { NewSequence, Scheduler, SequenceEvent } from './scheduler.ts';
import { decodeResult, encodePlan } from './step-plan.ts';

/** Counts since the rank began. */
export interface StepCounts {
  steps: number;
  promptTokens: number;
  generatedTokens: number;
}

/**
 * Runs step after step while there is work, one ahead of those that run. Sequences may be added and
 * removed at any moment; they join and leave between steps. A failed step is the end: the executor
 * is not used again.
 */
export class StepLoop {
  readonly counts: StepCounts = { steps: 0, promptTokens: 0, generatedTokens: 0 };
  readonly #addon: Addon;
  readonly #engine: EngineHandle;
  readonly #scheduler: Scheduler;
  readonly #listeners = new Map<string, (event: SequenceEvent) => void>();
  readonly #stepsInFlight: number;
  readonly #onFailure: (error: unknown) => void;
  #stepping = false;

  /** `stages`: of the pipeline that the engine leads, 1 without one; each has a step to run. */
  constructor(
    addon: Addon,
    engine: EngineHandle,
    scheduler: Scheduler,
    stages: number,
    onFailure: (error: unknown) => void,
  ) {
    this.#addon = addon;
    this.#engine = engine;
    this.#scheduler = scheduler;
    this.#stepsInFlight = stages + 1;
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
      for (;;) {
        this.#launch(flying);
        this.#dispatch();
        const oldest = flying.shift();
        if (oldest === undefined) break;
        this.#scheduler.complete(decodeResult(await oldest));
        this.counts.steps += 1;
      }
      this.#stepping = false;
    } catch (error) {
      this.#onFailure(
        error instanceof CideryError ? error : new CideryError(codeOf(error), errorMessage(error)),
      );
    }
  }

  /** Keeps the step thread in work: the next step waits there when one ends. */
  #launch(flying: Promise<Uint8Array>[]): void {
    while (flying.length < this.#stepsInFlight) {
      const plan = this.#scheduler.plan();
      if (plan === null) return;
      for (const { tokens } of plan.sequences) {
        if (tokens !== 'lastSample' && tokens.length > 1) this.counts.promptTokens += tokens.length;
      }
      const step = this.#addon.step(this.#engine, encodePlan(plan));
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

/** The code that the addon put on its error. */
export function codeOf(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? error.code : null;
  return typeof code === 'string' ? code : 'engine_failed';
}
