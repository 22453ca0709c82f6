import type { ProgramRope } from '../../src/model/program.ts';

/** Operations of a program in 64-bit arithmetic, over rows of activations, as plainly as can be. */

export type Rows = readonly (readonly number[])[];

const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
function dot(a: readonly number[], b: readonly number[]): number {
  let total = 0;
  for (let i = 0; i < a.length; i += 1) total += (a[i] ?? 0) * (b[i] ?? Number.NaN);
  return total;
}

export function add(a: Rows, b: Rows, scaleB: number): Rows {
  return a.map((row, r) => row.map((value, i) => value + scaleB * (b[r]?.[i] ?? Number.NaN)));
}

/** `weight` has a row for each output. */
export function linear(input: Rows, weight: Rows, bias: readonly number[] | null): Rows {
  return input.map((row) => weight.map((column, i) => dot(row, column) + (bias?.[i] ?? 0)));
}

export function norm(
  input: Rows,
  fields: {
    readonly weight: readonly number[] | null;
    readonly bias: readonly number[] | null;
    readonly epsilon: number;
    readonly weightOffset: number;
    readonly kind: number;
  },
): Rows {
  const { weight, bias, epsilon, weightOffset, kind } = fields;
  return input.map((row) => {
    const mean = kind === 1 ? sum(row) / row.length : 0;
    const centred = row.map((value) => value - mean);
    const scale = 1 / Math.sqrt(dot(centred, centred) / row.length + epsilon);
    return centred.map((value, i) => {
      const factor = weight === null ? 1 : (weight[i] ?? Number.NaN) + weightOffset;
      return value * scale * factor + (bias?.[i] ?? 0);
    });
  });
}

export function activate(gate: Rows, up: Rows | null, kind: number): Rows {
  const functions = [
    (x: number) => x / (1 + Math.exp(-x)),
    // The exact gelu is in no family's program.
    () => Number.NaN,
    (x: number) => (x / 2) * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))),
    (x: number) => Math.max(0, x),
    (x: number) => Math.max(0, x) ** 2,
  ];
  const activation = functions[kind] ?? (() => Number.NaN);
  return gate.map((row, r) =>
    row.map((x, i) => activation(x) * (up === null ? 1 : (up[r]?.[i] ?? Number.NaN))),
  );
}

export interface AttentionFields {
  readonly heads: number;
  readonly groupHeads: number;
  readonly firstInGroup: number;
  readonly headWidth: number;
  readonly scale: number;
  readonly softcap: number;
  readonly window: number;
  readonly qNorm: readonly number[] | null;
  readonly kNorm: readonly number[] | null;
  readonly normEpsilon: number;
  readonly normWeightOffset: number;
  readonly rope: ProgramRope | null;
  readonly queryScaleBeta: number;
  readonly queryScaleOriginal: number;
}

/** Of one sequence from its start. */
export function attention(q: Rows, k: Rows, v: Rows, fields: AttentionFields): Rows {
  const { heads, groupHeads, firstInGroup, headWidth, scale, softcap, window } = fields;
  const head = (rows: Rows, index: number) =>
    rows.map((row) => row.slice(index * headWidth, (index + 1) * headWidth));
  const outputs = Array.from({ length: heads }, (_, index) => {
    const keyHead = Math.floor((firstInGroup + index) / groupHeads);
    const queries = placed(head(q, index), fields.qNorm, fields).map((row, position) => {
      const { queryScaleBeta: beta, queryScaleOriginal: original } = fields;
      const factor = original > 0 ? 1 + beta * Math.log(1 + Math.floor(position / original)) : 1;
      return row.map((value) => value * factor);
    });
    const keys = placed(head(k, keyHead), fields.kNorm, fields);
    const values = head(v, keyHead);
    return queries.map((query, position) => {
      const first = window > 0 ? Math.max(0, position - window + 1) : 0;
      const weights = keys.slice(first, position + 1).map((key) => {
        const score = scale * dot(query, key);
        return Math.exp(softcap > 0 ? softcap * Math.tanh(score / softcap) : score);
      });
      const seen = values.slice(first, position + 1);
      const shares = weights.map((weight) => weight / sum(weights));
      return Array.from({ length: headWidth }, (__, column) =>
        dot(
          shares,
          seen.map((value) => value[column] ?? Number.NaN),
        ),
      );
    });
  });
  return q.map((row, position) => outputs.flatMap((rows) => rows[position] ?? row));
}

/** A head's queries or keys, normalized and rotated. */
function placed(rows: Rows, weight: readonly number[] | null, fields: AttentionFields): Rows {
  const { normEpsilon: epsilon, normWeightOffset: weightOffset, rope } = fields;
  const normed =
    weight === null ? rows : norm(rows, { weight, bias: null, epsilon, weightOffset, kind: 0 });
  return rope === null ? normed : normed.map((row, position) => rotated(row, position, rope));
}

function rotated(row: readonly number[], position: number, rope: ProgramRope): number[] {
  const { width, traditional, preScale, frequencies, dynamicFactor, dynamicFrom } = rope;
  const stretched =
    dynamicFrom > 0 && position >= dynamicFrom
      ? (dynamicFactor * (position + 1)) / dynamicFrom - (dynamicFactor - 1)
      : 1;
  const base = rope.base * stretched ** (width / (width - 2));
  const out = [...row];
  for (let i = 0; i < width / 2; i += 1) {
    const [low, high] = traditional ? [2 * i, 2 * i + 1] : [i, i + width / 2];
    const angle = (position * rope.scale) / (frequencies?.[i] ?? base ** ((2 * i) / width));
    const [x, y] = [(row[low] ?? 0) * preScale, (row[high] ?? 0) * preScale];
    out[low] = x * Math.cos(angle) - y * Math.sin(angle);
    out[high] = x * Math.sin(angle) + y * Math.cos(angle);
  }
  return out;
}
