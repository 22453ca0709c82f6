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

/**
 * Cuts `units` into a range for each weight, in their order, so that the largest load for its
 * weight is as small as it can be; of cuts that are as good the earlier ranges have more.
 * @param load of a range: never less than that of a range within it.
 */
export function cutEvenly(
  units: number,
  weights: readonly number[],
  load: (range: Range) => number,
): Range[] {
  invariant(units >= weights.length, `${units} units cannot be cut into ${weights.length}`);
  /** For each range, by its end: where it begins so that the largest load up to it is least. */
  const begins: Map<number, number>[] = [];
  let largest = new Map([[0, 0]]);
  for (const [at, weight] of weights.entries()) {
    const begin = new Map<number, number>();
    const next = new Map<number, number>();
    const behind = weights.length - 1 - at;
    for (let end = behind === 0 ? units : at + 1; end <= units - behind; end += 1) {
      let least = Number.POSITIVE_INFINITY;
      for (let first = end - 1; first >= at; first -= 1) {
        const before = largest.get(first) ?? Number.POSITIVE_INFINITY;
        const own = load({ first, count: end - first }) / weight;
        // Longer ones only weigh more.
        if (own >= least) break;
        if (before >= least) continue;
        least = Math.max(own, before);
        begin.set(end, first);
      }
      next.set(end, least);
    }
    begins.push(begin);
    largest = next;
  }
  let end = units;
  const ranges = begins.toReversed().map((begin): Range => {
    const first = begin.get(end);
    invariant(first !== undefined, 'no ranges hold all units');
    const range = { first, count: end - first };
    end = first;
    return range;
  });
  return ranges.toReversed();
}

/**
 * How many of `count` things of a width stay together so that cuts fall between groups; 1 where
 * that leaves too few for all members.
 */
export function unitOf(width: number, count: number, members: number, group: number): number {
  const unit = group / greatestDivisor(group, width);
  return count % unit === 0 && count / unit >= members ? unit : 1;
}

function greatestDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestDivisor(b, a % b);
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
