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
 * Runs step after step while there is work. Sequences may be added and removed at any moment; they
 * join and leave between steps. A failed step is the end: the executor is not used again.
 */
export class StepLoop {
  readonly counts: StepCounts = { steps: 0, promptTokens: 0, generatedTokens: 0 };
  readonly #addon: Addon;
  readonly #engine: EngineHandle;
  readonly #scheduler: Scheduler;
  readonly #listeners = new Map<string, (event: SequenceEvent) => void>();
  readonly #onFailure: (error: unknown) => void;
  #stepping = false;

  constructor(
    addon: Addon,
    engine: EngineHandle,
    scheduler: Scheduler,
    onFailure: (error: unknown) => void,
  ) {
    this.#addon = addon;
    this.#engine = engine;
    this.#scheduler = scheduler;
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
      for (let plan = this.#scheduler.plan(); plan !== null; plan = this.#scheduler.plan()) {
        this.#dispatch();
        const result = decodeResult(await this.#addon.step(this.#engine, encodePlan(plan)));
        this.counts.steps += 1;
        for (const { tokens } of plan.sequences) {
          this.counts.promptTokens += tokens.length > 1 ? tokens.length : 0;
        }
        this.#scheduler.complete(result);
        this.#dispatch();
      }
      this.#stepping = false;
    } catch (error) {
      this.#onFailure(
        error instanceof CideryError ? error : new CideryError(codeOf(error), errorMessage(error)),
      );
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
