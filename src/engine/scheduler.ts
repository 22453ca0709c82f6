import { CideryError, invariant } from '../base/error.ts';
import { commonPrefixLength, type Slots } from './slots.ts';
import type {
  PlannedSequence,
  Sampler,
  SequenceResult,
  StepPlan,
  StepResult,
  TokenLogprob,
} from './step-plan.ts';

/** A sequence as the scheduler takes it in. */
export interface NewSequence {
  readonly key: string;
  /** The prompt, and behind it what an earlier run has generated already. */
  readonly tokens: readonly number[];
  /** Tokens to draw before it ends for its length. */
  readonly maxTokens: number;
  /** Ids that end it; they are not reported as text but counted. */
  readonly stopIds: ReadonlySet<number>;
  readonly work: { kind: 'generate'; sampler: Sampler } | { kind: 'logits'; rows: number };
}

/** What a step brought to a sequence. */
export type SequenceEvent =
  | { readonly kind: 'admitted'; readonly key: string; readonly reused: number }
  | {
      readonly kind: 'token';
      readonly key: string;
      readonly token: number;
      readonly logprob: number | null;
      readonly alternatives: readonly TokenLogprob[];
      /** Set on the last one; `stop`: the token is one of the sequence's stop ids. */
      readonly finish: 'stop' | 'length' | null;
    }
  | { readonly kind: 'logits'; readonly key: string; readonly logits: Float32Array }
  | { readonly kind: 'failed'; readonly key: string; readonly error: CideryError };

export interface SchedulerLimits {
  /** Prompt tokens a step computes beside the running sequences' next tokens. */
  readonly promptTokensPerStep: number;
  /** A prompt's smallest share of them. */
  readonly promptShareMin: number;
  /** Sequences that may wait. */
  readonly waitingMax: number;
  /** Positions a slot can hold. */
  readonly contextLength: number;
  /** A wait for another sequence's prompt must save at least this many positions. */
  readonly sharedPrefixMin: number;
}

interface Sequence extends NewSequence {
  readonly history: number[];
  slot: number;
  computed: number;
  drawn: number;
  admitted: boolean;
}

interface Planned {
  readonly sequence: Sequence;
  readonly count: number;
  readonly last: boolean;
}

/**
 * Decides what each step computes: the next token of every running sequence, and beside them a
 * bounded share of the prompts that are being read, fairly. Sequences join and leave between steps.
 * Pure: it knows neither time nor addon. One plan at a time: `complete` follows each `plan` that
 * was not null.
 */
export class Scheduler {
  readonly #slots: Slots;
  readonly #limits: SchedulerLimits;
  #waiting: Sequence[] = [];
  #running: Sequence[] = [];
  #inFlight: Planned[] | null = null;
  #number = 0;
  #events: SequenceEvent[] = [];

  constructor(slots: Slots, limits: SchedulerLimits) {
    this.#slots = slots;
    this.#limits = limits;
  }

  get running(): number {
    return this.#running.length;
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  /** Throws `queue_full`, `prompt_too_long`. */
  add(sequence: NewSequence): void {
    const { contextLength, waitingMax } = this.#limits;
    if (this.#waiting.length >= waitingMax) {
      throw new CideryError('queue_full', `${this.#waiting.length} requests are waiting already`);
    }
    if (sequence.tokens.length > contextLength) {
      throw new CideryError(
        'prompt_too_long',
        `the prompt has ${sequence.tokens.length} tokens and the context holds ${contextLength}`,
      );
    }
    const history = [...sequence.tokens];
    this.#waiting.push({
      ...sequence,
      history,
      slot: -1,
      computed: 0,
      drawn: 0,
      admitted: false,
    });
  }

  /** The sequence leaves; what a running step computes for it is dropped. Unknown keys are fine. */
  remove(key: string): void {
    this.#waiting = this.#waiting.filter((sequence) => sequence.key !== key);
    const leaving = this.#running.find((sequence) => sequence.key === key);
    if (leaving !== undefined) this.#leave(leaving);
  }

  /** The next step, or null when there is nothing to do. */
  plan(): StepPlan | null {
    invariant(this.#inFlight === null, 'a step is planned while another runs');
    const copies = this.#admit();
    const sources = new Set(copies.map((copy) => copy.from));
    const planned = this.#withinMemory([...this.#decodes(), ...this.#prompts()], sources);
    const retired = this.#slots.takeRetired(sources);
    if (planned.length === 0 && copies.length === 0) return null;
    this.#inFlight = planned;
    this.#number += 1;
    return { number: this.#number, retired, copies, sequences: planned.map(plannedSequence) };
  }

  /** Takes a step's result in. */
  complete(result: StepResult): void {
    const planned = this.#inFlight;
    invariant(planned !== null && result.number === this.#number, 'a result without its plan');
    this.#inFlight = null;
    for (const [index, { sequence, count, last }] of planned.entries()) {
      const brought = result.sequences[index];
      invariant(brought !== undefined, 'a result lacks a sequence');
      if (!this.#running.includes(sequence)) continue;
      const from = sequence.computed;
      this.#slots.extend(sequence.slot, sequence.history.slice(from, from + count));
      sequence.computed += count;
      if (last) this.#deliver(sequence, brought);
    }
  }

  /** What has happened since the last call, in order. */
  takeEvents(): SequenceEvent[] {
    const events = this.#events;
    this.#events = [];
    return events;
  }

  #deliver(sequence: Sequence, brought: SequenceResult): void {
    const { key } = sequence;
    if (sequence.work.kind === 'logits') {
      this.#events.push({ kind: 'logits', key, logits: brought.logits });
      this.#leave(sequence);
      return;
    }
    if (brought.token === null) {
      const error = new CideryError('not_finite', "the model's output is not a finite number");
      this.#events.push({ kind: 'failed', key, error });
      this.#slots.forget(sequence.slot);
      this.#leave(sequence);
      return;
    }
    const { token, logprob, alternatives } = brought;
    sequence.history.push(token);
    sequence.drawn += 1;
    const full = sequence.history.length >= this.#limits.contextLength;
    const long = sequence.drawn >= sequence.maxTokens || full;
    const finish = sequence.stopIds.has(token) ? 'stop' : long ? 'length' : null;
    this.#events.push({ kind: 'token', key, token, logprob, alternatives, finish });
    if (finish !== null) this.#leave(sequence);
  }

  #leave(sequence: Sequence): void {
    this.#running = this.#running.filter((other) => other !== sequence);
    this.#slots.release(sequence.slot);
  }

  /**
   * Gives slots to waiting sequences in their order; one whose prefix another is computing now
   * waits for it.
   */
  #admit(): StepPlan['copies'] {
    const copies: { from: number; to: number; positions: number }[] = [];
    const stillWaiting: Sequence[] = [];
    for (const sequence of this.#waiting) {
      // Prefixes are compared only when there is a slot to give: many may wait, with long prompts.
      const claim =
        this.#slots.hasFree && this.#mayStart(sequence, copies)
          ? this.#slots.claim(sequence.key, sequence.history, reusableMax(sequence))
          : null;
      if (claim === null) {
        stillWaiting.push(sequence);
        continue;
      }
      sequence.slot = claim.slot;
      sequence.computed = claim.reused;
      this.#running.push(sequence);
      if (claim.copyFrom !== null) {
        copies.push({ from: claim.copyFrom, to: claim.slot, positions: claim.reused });
      }
      if (!sequence.admitted) {
        this.#events.push({ kind: 'admitted', key: sequence.key, reused: claim.reused });
        sequence.admitted = true;
      }
    }
    this.#waiting = stillWaiting;
    return copies;
  }

  #mayStart(sequence: Sequence, copies: StepPlan['copies']): boolean {
    const { history } = sequence;
    const prefix = this.#slots.prefixOf(history, reusableMax(sequence));
    const reusable = prefix?.length ?? 0;
    const soon = this.#running.some((other) => {
      if (other.computed >= other.history.length - 1) return false;
      const shared = Math.min(
        commonPrefixLength(other.history, history),
        other.history.length - 1,
        history.length - 1,
      );
      return shared - reusable >= this.#limits.sharedPrefixMin;
    });
    if (soon) return false;
    const kept = new Set(copies.map((copy) => copy.from));
    if (prefix !== null) kept.add(prefix.slot);
    const needed = this.#slots.rounded(history.length) - this.#slots.rounded(reusable);
    // With nothing else running it starts in any case: the budget holds one whole context.
    return this.#slots.makeRoom(needed, kept) || this.#running.length === 0;
  }

  #decodes(): Planned[] {
    return this.#running
      .filter((sequence) => sequence.computed === sequence.history.length - 1)
      .map((sequence) => ({ sequence, count: 1, last: true }));
  }

  /**
   * Shares the step's prompt tokens among the prompts being read: small remainders first, the rest
   * evenly.
   */
  #prompts(): Planned[] {
    const reading = this.#running
      .map((sequence) => ({ sequence, left: sequence.history.length - sequence.computed }))
      .filter(({ left }) => left > 1)
      .sort((a, b) => a.left - b.left);
    const planned: Planned[] = [];
    let budget = this.#limits.promptTokensPerStep;
    for (const [index, { sequence, left }] of reading.entries()) {
      if (budget <= 0) break;
      const share = Math.max(
        Math.floor(budget / (reading.length - index)),
        this.#limits.promptShareMin,
      );
      // Logits of many rows come from one pass over the whole.
      const count = sequence.work.kind === 'logits' ? left : Math.min(left, share);
      budget -= count;
      planned.push({ sequence, count, last: count === left });
    }
    return planned;
  }

  /**
   * Drops idle positions, then the sequences that came last, until what the step adds fits. A
   * dropped sequence waits in front and is computed again as a longer prompt: nothing that was sent
   * changes.
   */
  #withinMemory(planned: Planned[], sources: ReadonlySet<number>): Planned[] {
    let kept = planned;
    while (kept.length > 0) {
      const growth = kept.reduce(
        (sum, { sequence, count }) => sum + this.#slots.growth(sequence.slot, count),
        0,
      );
      if (this.#slots.makeRoom(growth, sources) || this.#running.length <= 1) break;
      const victim = this.#running.at(-1);
      invariant(victim !== undefined, 'no sequence to put back');
      this.#leave(victim);
      this.#slots.forget(victim.slot);
      victim.computed = 0;
      this.#waiting.unshift(victim);
      kept = kept.filter(({ sequence }) => sequence !== victim);
    }
    return kept;
  }
}

function plannedSequence({ sequence, count, last }: Planned): PlannedSequence {
  const { slot, computed, history, work } = sequence;
  const want = !last
    ? ({ kind: 'nothing' } as const)
    : work.kind === 'logits'
      ? ({ kind: 'logits', rows: work.rows } as const)
      : ({ kind: 'sample', sampler: work.sampler } as const);
  return { slot, firstPosition: computed, tokens: history.slice(computed, computed + count), want };
}

/**
 * Positions that may come from what was computed before: the last token is always computed again,
 * and logits of many rows come from one pass over the whole.
 */
function reusableMax({ history, work }: Sequence): number {
  return work.kind === 'logits' ? 0 : history.length - 1;
}
