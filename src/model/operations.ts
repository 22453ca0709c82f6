/**
 * The operations that a step program is made of, with their fields in encoding order. The twin of
 * `native/program/ops.def`: a test compares the two. An operation is complete when every executor
 * runs it.
 */

/** How a field is encoded, in 32-bit little-endian words. */
export type FieldKind =
  /** Columns of a buffer that the operation writes: buffer, first column, width. */
  | 'output'
  /** Columns of a buffer that the operation reads. */
  | 'input'
  /** As `input`; width 0 when absent. */
  | 'optionalInput'
  /** Index of a parameter. */
  | 'parameter'
  /** As `parameter`; `none` when absent. */
  | 'optionalParameter'
  /** Index of a rope; `none` when the layer has no positions. */
  | 'optionalRope'
  | 'u32'
  | 'f32';

/** Stands for an absent parameter or rope. */
export const none = 0xffff_ffff;

export const operations = {
  /**
   * out[t] = table[token[t] - first] * scale; zeros for a token that is no row of the table (of a
   * rank that has a part of the vocabulary).
   */
  embed: { code: 1, fields: { out: 'output', table: 'parameter', scale: 'f32', first: 'u32' } },
  /**
   * kind 0: RMS norm, x / sqrt(mean(x^2) + epsilon) * (weight + weightOffset); kind 1: layer norm
   * (mean taken off), with an optional bias. The width of `in` is the normalized width.
   */
  norm: {
    code: 2,
    fields: {
      out: 'output',
      in: 'input',
      weight: 'optionalParameter',
      bias: 'optionalParameter',
      epsilon: 'f32',
      weightOffset: 'f32',
      kind: 'u32',
    },
  },
  /** out = in * weight^T + bias, weight [outWidth, inWidth]. */
  linear: {
    code: 3,
    fields: { out: 'output', in: 'input', weight: 'parameter', bias: 'optionalParameter' },
  },
  /**
   * Causal attention of each sequence's new positions over its slot in cache `cache`, after writing
   * the new keys and values there. Head h uses key head floor((firstInGroup + h) / groupHeads): a
   * rank's heads may begin and end within a group. In this order: q and k are normalized (normKind
   * 0 no, 1 each head with weights [headWidth]); rotated by `rope`; q multiplied by 1 +
   * queryScaleBeta * ln(1 + floor(position / queryScaleOriginal)) where queryScaleOriginal > 0;
   * scores are scale * q.k, capped as softcap * tanh(score / softcap) where softcap > 0; a key is
   * seen by a query when 0 <= queryPosition - keyPosition < window (window 0: no limit); `sinks`
   * [heads] join each softmax's denominator.
   */
  attention: {
    code: 4,
    fields: {
      out: 'output',
      q: 'input',
      k: 'input',
      v: 'input',
      cache: 'u32',
      heads: 'u32',
      keyHeads: 'u32',
      groupHeads: 'u32',
      firstInGroup: 'u32',
      headWidth: 'u32',
      valueWidth: 'u32',
      scale: 'f32',
      softcap: 'f32',
      window: 'u32',
      qNorm: 'optionalParameter',
      kNorm: 'optionalParameter',
      normKind: 'u32',
      normEpsilon: 'f32',
      normWeightOffset: 'f32',
      rope: 'optionalRope',
      queryScaleBeta: 'f32',
      queryScaleOriginal: 'u32',
      sinks: 'optionalParameter',
    },
  },
  /** out = f(gate) * up, or f(gate) without up. kind: see `activationKinds`. */
  activate: {
    code: 5,
    fields: { out: 'output', gate: 'input', up: 'optionalInput', kind: 'u32' },
  },
  /** out = a + scaleB * b. `out` may be `a`. */
  add: { code: 6, fields: { out: 'output', a: 'input', b: 'input', scaleB: 'f32' } },
  /** Copies the rows whose logits the step plan wants; `out` has the domain `selected`. */
  select: { code: 7, fields: { out: 'output', in: 'input' } },
  /**
   * logits = (in * weight^T + bias) * scale, then softcap * tanh(logits / softcap) where softcap >
   * 0. The last operation of a program; weight [tokens, inWidth] has the logits of `tokens` tokens
   * from `first` on: the whole vocabulary, or this rank's part of it.
   */
  head: {
    code: 8,
    fields: {
      in: 'input',
      weight: 'parameter',
      bias: 'optionalParameter',
      scale: 'f32',
      softcap: 'f32',
      first: 'u32',
    },
  },
  /**
   * data = the sum of all ranks' data, in f32 and in the order of the ranks. kind: see `sumKinds`.
   */
  allSum: { code: 9, fields: { data: 'output', kind: 'u32' } },
  /**
   * out = all ranks' parts side by side in the order of the ranks; `in` is this rank's own, and
   * `layout` the index of the widths that the parts have.
   */
  allGather: { code: 10, fields: { out: 'output', in: 'input', layout: 'u32' } },
  /** Sends every row of the buffer's domain to a rank; nothing where there are none. */
  send: { code: 11, fields: { in: 'input', to: 'u32' } },
  /** Takes what `send` of that rank sent. */
  receive: { code: 12, fields: { out: 'output', from: 'u32' } },
} as const satisfies Record<string, { code: number; fields: Record<string, FieldKind> }>;

export type OperationName = keyof typeof operations;

/** Activation functions by their code: gelu is exact (erf), geluTanh the tanh approximation. */
export const activationKinds = { silu: 0, gelu: 1, geluTanh: 2, relu: 3, reluSquared: 4 } as const;
export type ActivationKind = keyof typeof activationKinds;

/** What a sum may lose. `rounded`: in fast mode parts and sum travel as bf16, rounded once each. */
export const sumKinds = { exact: 0, rounded: 1 } as const;

export const normKinds = { rms: 0, layer: 1 } as const;
export const headNormKinds = { none: 0, head: 1 } as const;
