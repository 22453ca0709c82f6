import { invariant } from '../../base/error.ts';

/** `count` things from `first` on. */
export interface Range {
  readonly first: number;
  readonly count: number;
}

/**
 * Divides `units` in proportion to `weights`, in their order; every share has one at least. Equal
 * weights get the remainder from the first on: 61 over two is 31 and 30.
 */
export function apportion(units: number, weights: readonly number[]): number[] {
  invariant(units >= weights.length, `${units} units cannot make ${weights.length} shares`);
  const total = sum(weights);
  const quotas = weights.map((weight) => (units * weight) / total);
  const counts = quotas.map((quota) => Math.max(1, Math.floor(quota)));
  const lacking = (at: number) => (quotas[at] ?? 0) - (counts[at] ?? 0);
  let left = units - sum(counts);
  for (; left > 0; left -= 1) give(counts, 1, lacking);
  for (; left < 0; left += 1) {
    give(counts, -1, (at) => ((counts[at] ?? 0) > 1 ? -lacking(at) : Number.NEGATIVE_INFINITY));
  }
  return counts;
}

/** Adds to the first of the counts that deserves it most. */
function give(counts: number[], change: number, deserves: (at: number) => number): void {
  let most = 0;
  for (let at = 1; at < counts.length; at += 1) if (deserves(at) > deserves(most)) most = at;
  counts[most] = (counts[most] ?? 0) + change;
}

/** Consecutive ranges of `unit` things for each count. */
export function rangesOf(counts: readonly number[], unit = 1, start = 0): Range[] {
  let first = start;
  return counts.map((count) => {
    const range = { first, count: count * unit };
    first += range.count;
    return range;
  });
}

/**
 * Lengths of `runs` consecutive runs of the weights, none longer than `longest`, so that the
 * lightest run weighs as much as it can.
 */
export function evenRuns(runs: number, weights: readonly number[], longest: number): number[] {
  const count = weights.length;
  invariant(runs <= count && count <= runs * longest, `${count} make no ${runs} runs`);
  /** By the number of weights that the runs so far hold; lightest of them and their lengths. */
  let best = new Map([[0, { lightest: Number.POSITIVE_INFINITY, lengths: [] as number[] }]]);
  for (let run = 1; run <= runs; run += 1) {
    const next: typeof best = new Map();
    for (const [from, { lightest, lengths }] of best) {
      // The runs behind this one need one weight each, and can hold no more than their longest.
      const behind = runs - run;
      const least = Math.max(1, count - from - behind * longest);
      for (let length = Math.min(longest, count - from - behind); length >= least; length -= 1) {
        const weight = Math.min(lightest, sum(weights.slice(from, from + length)));
        if (weight > (next.get(from + length)?.lightest ?? 0)) {
          next.set(from + length, { lightest: weight, lengths: [...lengths, length] });
        }
      }
    }
    best = next;
  }
  const whole = best.get(count);
  invariant(whole !== undefined, 'no runs hold all weights');
  return whole.lengths;
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
