import { invariant } from '../src/base/error.ts';

/**
 * The value below which a share of all values lie, between two of them where the share falls
 * there (Hyndman and Fan's type 7, as numpy and R have it by default).
 * @param share from 0 to 1
 */
export function quantile(values: readonly number[], share: number): number {
  invariant(values.length > 0, 'a quantile of no values');
  const sorted = values.toSorted((a, b) => a - b);
  const at = share * (sorted.length - 1);
  const low = sorted[Math.floor(at)] ?? Number.NaN;
  const high = sorted[Math.ceil(at)] ?? Number.NaN;
  return low + (high - low) * (at - Math.floor(at));
}

export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

export interface Summary {
  readonly count: number;
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

export function summarize(values: readonly number[]): Summary {
  return {
    count: values.length,
    median: median(values),
    min: Math.min(...values),
    max: Math.max(...values),
  };
}

/** A figure of one round. */
export interface Sample {
  readonly round: number;
  readonly value: number;
}

/**
 * How many times better the first is than the second: the ratios of the rounds that both have, as
 * what disturbs a machine for a while disturbs both sides of a round. Null without such a round.
 */
export function pairedRatio(
  ours: readonly Sample[],
  theirs: readonly Sample[],
  better: 'more' | 'less',
): Summary | null {
  const other = new Map(theirs.map(({ round, value }) => [round, value]));
  const ratios = ours.flatMap(({ round, value }) => {
    const against = other.get(round);
    if (against === undefined) return [];
    const ratio = better === 'more' ? value / against : against / value;
    return Number.isFinite(ratio) ? [ratio] : [];
  });
  return ratios.length === 0 ? null : summarize(ratios);
}

/** Differences of neighbours: the gaps between the times at which tokens came. */
export function gaps(times: readonly number[]): number[] {
  return times.slice(1).map((time, index) => time - (times[index] ?? time));
}

/** Units a second from a count and milliseconds. */
export function perSecond(count: number, ms: number): number {
  return ms > 0 ? (count / ms) * 1_000 : Number.NaN;
}
