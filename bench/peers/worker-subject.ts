import type { Command } from '../processes/child.ts';
import { EngineProcess } from './engine-process.ts';
import type { Needs, StartPrompt, Subject } from './subject.ts';

export interface WorkerSettings {
  readonly name: string;
  readonly version: string;
  readonly maxSequences: number;
  readonly model: string;
  readonly command: (needs: Needs) => Command;
}

/** A peer in a worker of the bench's, which loads the model with its first request. */
export class WorkerSubject implements Subject {
  readonly name: string;
  readonly version: string;
  readonly maxSequences: number;
  readonly #settings: WorkerSettings;

  constructor(settings: WorkerSettings) {
    this.name = settings.name;
    this.version = settings.version;
    this.maxSequences = settings.maxSequences;
    this.#settings = settings;
  }

  open(needs: Needs): EngineProcess {
    const { name, model, command } = this.#settings;
    return new EngineProcess(name, command(needs), model);
  }

  async firstTokenMs({ ids }: StartPrompt, needs: Needs, limitMs: number): Promise<number> {
    const startedAt = performance.now();
    const engine = this.open(needs);
    try {
      await engine.generate([ids], 1, limitMs);
      return performance.now() - startedAt;
    } finally {
      await engine.close();
    }
  }
}
