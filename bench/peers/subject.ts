/** What an engine is opened for. */
export interface Needs {
  readonly threads: number;
  readonly precise: boolean;
  /** Sequences that run at once. */
  readonly sequences: number;
  /** Positions of each. */
  readonly contextLength: number;
  /** cidery's own: processes that share the model, each with `threads`; 1 unless given. */
  readonly ranks?: number;
  readonly split?: 'tensor' | 'pipeline' | null;
}

export interface Generated {
  /** The tokens of each prompt's answer. */
  readonly rows: readonly (readonly number[])[];
  /** From the request to the last row's first token. */
  readonly promptMs: number;
  /** All after that. */
  readonly generateMs: number;
  /** When each token came, in ms since the request; empty where an engine does not say. */
  readonly times: readonly (readonly number[])[];
}

/** A model loaded in a process of its own. */
export interface Engine {
  readonly pid: number;
  /** Greedy tokens, past any end of text, for all prompts at once. */
  generate(
    prompts: readonly (readonly number[])[],
    maxTokens: number,
    limitMs: number,
  ): Promise<Generated>;
  close(): Promise<void>;
}

/** A program that is measured. */
export interface Subject {
  readonly name: string;
  readonly version: string;
  /** Rows that `generate` takes at once; what needs more is left out. */
  readonly maxSequences: number;
  /** Starts a process; the model need not be loaded when it returns. */
  open(needs: Needs): Engine;
  /** Milliseconds from starting the process to the first token of a short prompt. */
  firstTokenMs(prompt: StartPrompt, needs: Needs, limitMs: number): Promise<number>;
}

export interface StartPrompt {
  readonly text: string;
  readonly ids: readonly number[];
}

/** A peer that cannot be had says why. */
export type Prepared = Subject | { readonly name: string; readonly absent: string };
