/** How the next token is drawn; the order of the filters is in native/sampling/sampler.h. */
export interface Sampler {
  /** 0: greedy. */
  readonly temperature: number;
  readonly topP: number;
  readonly minP: number;
  /** 0: all. */
  readonly topK: number;
  readonly repetition: number;
  readonly presence: number;
  readonly frequency: number;
  readonly seed: bigint;
  readonly choice: number;
  /** Positions below it count for `repetition` alone. */
  readonly promptLength: number;
  /** Null: none; n: the chosen token's and n alternatives'. */
  readonly logprobs: number | null;
  readonly biases: readonly { readonly token: number; readonly value: number }[];
  /** Null: every token may come; else a bit a token. */
  readonly mask: Uint32Array | null;
}

/** The likeliest token, whatever came before. */
export const greedySampler: Sampler = {
  temperature: 0,
  topP: 1,
  minP: 0,
  topK: 0,
  repetition: 1,
  presence: 0,
  frequency: 0,
  seed: 0n,
  choice: 0,
  promptLength: 0,
  logprobs: null,
  biases: [],
  mask: null,
};

/** Consecutive positions of one slot; what the slot held from `firstPosition` on is forgotten. */
export interface PlannedSequence {
  readonly slot: number;
  readonly firstPosition: number;
  /** The tokens, or the token that the slot's last step drew. */
  readonly tokens: readonly number[] | 'lastSample';
  readonly want:
    | { readonly kind: 'nothing' }
    | { readonly kind: 'sample'; readonly sampler: Sampler }
    | { readonly kind: 'logits'; readonly rows: number };
}

export interface StepPlan {
  readonly number: number;
  /** Slots whose memory may go. */
  readonly retired: readonly number[];
  /** `to` becomes a copy of the first positions of `from`. */
  readonly copies: readonly {
    readonly from: number;
    readonly to: number;
    readonly positions: number;
  }[];
  readonly sequences: readonly PlannedSequence[];
}

export interface TokenLogprob {
  readonly token: number;
  readonly logprob: number;
}

/** What one sequence of the plan brought, in the plan's order. */
export interface SequenceResult {
  readonly slot: number;
  /** Null when none was asked for, or the logits were not finite. */
  readonly token: number | null;
  readonly finite: boolean;
  /** Of the token; 0 when no logprobs were asked for, null when no token was drawn. */
  readonly logprob: number | null;
  readonly alternatives: readonly TokenLogprob[];
  /** rows * vocabulary, or empty. */
  readonly logits: Float32Array;
}

export interface StepResult {
  readonly number: number;
  readonly sequences: readonly SequenceResult[];
}

const planMagic = 0x53444943; // "CIDS"
const resultMagic = 0x52444943; // "CIDR"
const version = 1;

/**
 * A plan as native/program/step_plan.h reads it, in little-endian 32-bit words:
 *
 *     magic, version, number
 *     retired:   count, slots
 *     copies:    count, (from, to, positions)
 *     sequences: count, (slot, firstPosition, tokenCount, source (0 literals, 1 last sample),
 *                literals, want (0, 1 sample, 2 logits, 3 the token of the largest logit),
 *                logitRows, the sampler where want is 1)
 *     sampler:   temperature, topP, minP (f32), topK, repetition, presence, frequency (f32),
 *                seed (low, high), choice, promptLength, logprobs (0 none, n + 1),
 *                biases: count, (token, f32), mask: count, words
 */
export function encodePlan(plan: StepPlan): Uint8Array {
  const words: number[] = [planMagic, version, plan.number, plan.retired.length, ...plan.retired];
  words.push(plan.copies.length);
  for (const copy of plan.copies) words.push(copy.from, copy.to, copy.positions);
  words.push(plan.sequences.length);
  for (const sequence of plan.sequences) pushSequence(words, sequence);
  return new Uint8Array(Uint32Array.from(words).buffer);
}

function pushSequence(words: number[], sequence: PlannedSequence): void {
  const { tokens, want } = sequence;
  words.push(sequence.slot, sequence.firstPosition);
  if (tokens === 'lastSample') words.push(1, 1);
  else {
    words.push(tokens.length, 0);
    for (const token of tokens) words.push(token);
  }
  if (want.kind === 'nothing') words.push(0, 0);
  else if (want.kind === 'logits') words.push(2, want.rows);
  else {
    words.push(1, 1);
    pushSampler(words, want.sampler);
  }
}

function pushSampler(words: number[], sampler: Sampler): void {
  const { temperature, topP, minP, repetition, presence, frequency } = sampler;
  words.push(bits(temperature), bits(topP), bits(minP), sampler.topK);
  words.push(bits(repetition), bits(presence), bits(frequency));
  const seed = BigInt.asUintN(64, sampler.seed);
  words.push(Number(seed & 0xffffffffn), Number(seed >> 32n), sampler.choice, sampler.promptLength);
  words.push(sampler.logprobs === null ? 0 : sampler.logprobs + 1, sampler.biases.length);
  for (const bias of sampler.biases) words.push(bias.token, bits(bias.value));
  words.push(sampler.mask?.length ?? 0);
  for (const word of sampler.mask ?? []) words.push(word);
}

const scratch = new DataView(new ArrayBuffer(4));

function bits(value: number): number {
  scratch.setFloat32(0, value);
  return scratch.getUint32(0);
}

/**
 * Reads a step's result: magic, version, number, vocabulary, then per sequence: slot, flags (1
 * sampled, 2 finite), token, logprob (f32), alternatives: count, (token, f32), logits: rows, rows *
 * vocabulary f32.
 */
export function decodeResult(bytes: Uint8Array): StepResult {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = 0;
  const u32 = () => view.getUint32((at += 4) - 4, true);
  const f32 = () => view.getFloat32((at += 4) - 4, true);
  if (u32() !== resultMagic || u32() !== version) throw new RangeError('not a step result');
  const number = u32();
  const vocabulary = u32();
  const sequences = Array.from({ length: u32() }, (): SequenceResult => {
    const slot = u32();
    const flags = u32();
    const sampled = (flags & 1) !== 0;
    const token = u32();
    const logprob = f32();
    const alternatives = Array.from({ length: u32() }, () => ({ token: u32(), logprob: f32() }));
    const length = u32() * vocabulary;
    const start = bytes.byteOffset + at;
    const logits = new Float32Array(bytes.buffer.slice(start, start + length * 4));
    at += length * 4;
    const finite = (flags & 2) !== 0;
    return {
      slot,
      token: sampled ? token : null,
      finite,
      logprob: sampled ? logprob : null,
      alternatives,
      logits,
    };
  });
  return { number, sequences };
}
