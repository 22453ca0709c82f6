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
  /** Stages of a pipeline: sequences are divided into as many batches, which take turns. */
  readonly batches: number;
}

interface Sequence extends NewSequence {
  /** Tokens that are known. */
  readonly history: number[];
  slot: number;
  batch: number;
  /** Positions that completed steps have computed. */
  computed: number;
  /** Positions that steps have computed or will, those in flight included. */
  planned: number;
  /** Tokens that steps in flight draw: behind `history`, and not known yet. */
  unknown: number;
  drawn: number;
  admitted: boolean;
  /** Counts its places: what a step brings for an earlier one is dropped. */
  stay: number;
}

/** A sequence's part of a step in flight. */
interface Planned {
  readonly sequence: Sequence;
  readonly stay: number;
  readonly from: number;
  readonly count: number;
  /** The step computes the last token there is, and so brings what the sequence wants. */
  readonly last: boolean;
}

interface InFlight {
  readonly number: number;
  readonly planned: readonly Planned[];
  /** It tells the executor of nothing but tokens: of what it would not be told again. */
  readonly isPlain: boolean;
}

/**
 * Steps in flight that may each draw a token for one sequence: the one that runs, and the one that
 * follows it at once. What is drawn beyond a sequence's end is dropped.
 */
const unknownMax = 2;

/**
 * Decides what each step computes: the next token of every running sequence, and beside them a
 * bounded share of the prompts that are being read, fairly. Sequences join and leave between steps.
 * Pure: it knows neither time nor addon. Several plans may be in flight; their results come in the
 * order of the plans. A plan ahead takes a token that is not known yet as the sample of the step
 * before it.
 */
export class Scheduler {
  readonly #slots: Slots;
  readonly #limits: SchedulerLimits;
  #waiting: Sequence[] = [];
  #running: Sequence[] = [];
  readonly #inFlight: InFlight[] = [];
  #number = 0;
  #turn = 0;
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
      batch: 0,
      computed: 0,
      planned: 0,
      unknown: 0,
      drawn: 0,
      admitted: false,
      stay: 0,
    });
  }

  /** The sequence leaves; what a running step computes for it is dropped. Unknown keys are fine. */
  remove(key: string): void {
    this.#waiting = this.#waiting.filter((sequence) => sequence.key !== key);
    const leaving = this.#running.find((sequence) => sequence.key === key);
    if (leaving !== undefined) this.#leave(leaving);
  }

  /** The next step, or null when there is nothing to do before a result comes in. */
  plan(): StepPlan | null {
    const admitted = this.#admit();
    const sources = new Set(admitted.map((copy) => copy.from));
    for (const { to, positions } of admitted) this.#slots.hold(to, positions);
    const planned = this.#nextFittingBatch(sources);
    // One that was put back at once needs no copy.
    const copies = admitted.filter(({ to }) => this.#slots.holdsAny(to));
    if (planned.length === 0 && copies.length === 0) return null;
    const retired = this.#slots.takeRetired(sources);
    this.#number += 1;
    const sequences = planned.map(plannedSequence);
    for (const taken of planned) this.#take(taken);
    const isPlain = retired.length === 0 && copies.length === 0;
    this.#inFlight.push({ number: this.#number, planned, isPlain });
    return { number: this.#number, retired, copies, sequences };
  }

  /** Whether the last plan can be taken back, if no executor has begun it. */
  get mayTakeBack(): boolean {
    const last = this.#inFlight.at(-1);
    return last?.isPlain === true && last.planned.every(isStillThere);
  }

  /** The last plan is dropped: the next one has what it had, and who came since. */
  takeBack(): void {
    const dropped = this.#inFlight.pop();
    invariant(dropped?.isPlain === true, 'a plan that can be taken back');
    this.#number -= 1;
    for (const { sequence, count, last } of dropped.planned) {
      sequence.planned -= count;
      this.#slots.hold(sequence.slot, sequence.planned);
      if (last && sequence.work.kind === 'generate') sequence.unknown -= 1;
    }
  }

  /** Takes the oldest step's result in. */
  complete(result: StepResult): void {
    const step = this.#inFlight.shift();
    invariant(step !== undefined && result.number === step.number, 'a result without its plan');
    for (const [index, planned] of step.planned.entries()) {
      const brought = result.sequences[index];
      invariant(brought !== undefined, 'a result lacks a sequence');
      if (!isStillThere(planned)) continue;
      const { sequence, from, count, last } = planned;
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
    sequence.unknown -= 1;
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
    sequence.stay += 1;
  }

  /** A step in flight computes this part. */
  #take({ sequence, count, last }: Planned): void {
    sequence.planned += count;
    this.#slots.hold(sequence.slot, sequence.planned);
    if (last && sequence.work.kind === 'generate') sequence.unknown += 1;
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
      sequence.batch = this.#smallestBatch();
      sequence.computed = claim.reused;
      sequence.planned = claim.reused;
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

  #smallestBatch(): number {
    const sizes = Array.from({ length: this.#limits.batches }, () => 0);
    for (const { batch } of this.#running) sizes[batch] = (sizes[batch] ?? 0) + 1;
    return sizes.indexOf(Math.min(...sizes));
  }

  /**
   * What the next batch computes that has something to do and keeps a place for it. Empty only when
   * nobody who runs has anything to do: each round without a result puts a sequence back.
   */
  #nextFittingBatch(sources: ReadonlySet<number>): Planned[] {
    for (;;) {
      const batch = this.#nextBatch();
      const fitting = this.#withinMemory(batch, sources);
      if (fitting.length > 0 || batch.length === 0) return fitting;
    }
  }

  /** What the next batch that has something to do computes. */
  #nextBatch(): Planned[] {
    const { batches } = this.#limits;
    for (let tried = 0; tried < batches; tried++) {
      const batch = (this.#turn + tried) % batches;
      const members = this.#running.filter((sequence) => sequence.batch === batch);
      const planned = [...this.#decodes(members), ...this.#prompts(members)];
      if (planned.length === 0) continue;
      this.#turn = (batch + 1) % batches;
      return planned;
    }
    return [];
  }

  /** Of sequences whose last token is all that no step computes yet. */
  #decodes(members: readonly Sequence[]): Planned[] {
    return members
      .filter((sequence) => {
        const { history, unknown, planned, drawn, maxTokens } = sequence;
        const length = history.length + unknown;
        if (planned !== length - 1) return false;
        const draws = drawn + unknown < maxTokens && length < this.#limits.contextLength;
        return unknown === 0 || (draws && unknown < unknownMax);
      })
      .map((sequence) => part(sequence, 1, true));
  }

  /**
   * Shares the step's prompt tokens among the prompts being read: small remainders first, the rest
   * evenly.
   */
  #prompts(members: readonly Sequence[]): Planned[] {
    const reading = members
      .map((sequence) => ({ sequence, left: sequence.history.length - sequence.planned }))
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
      planned.push(part(sequence, count, count === left));
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
        (sum, { sequence, from, count }) => sum + this.#slots.growth(sequence.slot, from + count),
        0,
      );
      if (this.#slots.makeRoom(growth, sources) || this.#running.length <= 1) break;
      const victim = this.#running.at(-1);
      invariant(victim !== undefined, 'no sequence to put back');
      this.#leave(victim);
      this.#slots.forget(victim.slot);
      victim.computed = 0;
      victim.planned = 0;
      victim.unknown = 0;
      this.#waiting.unshift(victim);
      kept = kept.filter(({ sequence }) => sequence !== victim);
    }
    return kept;
  }
}

/** Not so when it has left, or was put back, since the plan. */
function isStillThere({ sequence, stay }: Planned): boolean {
  return sequence.stay === stay;
}

function part(sequence: Sequence, count: number, last: boolean): Planned {
  return { sequence, stay: sequence.stay, from: sequence.planned, count, last };
}

function plannedSequence({ sequence, from, count, last }: Planned): PlannedSequence {
  const { slot, history, work } = sequence;
  const want = !last
    ? ({ kind: 'nothing' } as const)
    : work.kind === 'logits'
      ? ({ kind: 'logits', rows: work.rows } as const)
      : ({ kind: 'sample', sampler: work.sampler } as const);
  const tokens = from < history.length ? history.slice(from, from + count) : 'lastSample';
  return { slot, firstPosition: from, tokens, want };
}

/**
 * Positions that may come from what was computed before: the last token is always computed again,
 * and logits of many rows come from one pass over the whole.
 */
function reusableMax({ history, work }: Sequence): number {
  return work.kind === 'logits' ? 0 : history.length - 1;
}
