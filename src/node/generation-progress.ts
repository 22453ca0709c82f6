import type { RequestMessage, Resume } from '../engine/protocol.ts';

type Progress = Extract<RequestMessage, { type: 'delta' | 'finished' | 'done' }>;

interface ChoiceProgress {
  readonly ids: number[];
  generated: number;
  textLength: number;
  finished: boolean;
}

/** How far a request has come: what another rank needs to go on with it. */
export class GenerationProgress {
  readonly #choices: readonly ChoiceProgress[];
  #promptIds: readonly number[] | null = null;
  #fruitless = 0;
  #losses = 0;
  #advanced = false;

  constructor(choices: number) {
    this.#choices = Array.from({ length: choices }, () => ({
      ids: [],
      generated: 0,
      textLength: 0,
      finished: false,
    }));
  }

  /** Ranks that had this request are lost. */
  get hasLost(): boolean {
    return this.#losses > 0;
  }

  /** Losses in a row that it may be to blame for, without one new token of it between. */
  get fruitless(): number {
    return this.#fruitless;
  }

  start(promptIds: readonly number[]): void {
    this.#promptIds = promptIds;
  }

  take(event: Progress): void {
    this.#advanced = true;
    if (event.type === 'done') return;
    const choice = this.#choices[event.choice];
    if (choice === undefined) return;
    if (event.type === 'finished') choice.finished = true;
    else {
      choice.ids.push(...event.ids);
      choice.generated += 1;
      choice.textLength += event.text.length;
    }
  }

  /** The ranks that had the request are lost; `blameless`: over nothing that a request can do. */
  lose(blameless: boolean): void {
    if (this.#advanced) this.#fruitless = 0;
    if (!blameless) this.#fruitless += 1;
    this.#losses += 1;
    this.#advanced = false;
  }

  /** Null when no rank has taken it in yet: it is sent as a new one. */
  resume(): Resume | null {
    if (this.#promptIds === null) return null;
    return {
      promptIds: [...this.#promptIds],
      choices: this.#choices.map((choice) => ({ ...choice, ids: [...choice.ids] })),
    };
  }
}
