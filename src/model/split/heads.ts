import { attentionWidths } from '../parameters.ts';
import type { AttentionSpec } from '../spec.ts';
import { apportion, cutEvenly, evenRuns, type Range, rangesOf, unitOf } from './shares.ts';

/** What each member has of a layer's attention, in columns of the activations. */
export interface AttentionParts {
  /** What q_proj puts out: every query head is with one member. */
  readonly queries: readonly Range[];
  /**
   * What k_proj puts out. The same as `values`, but for whole keys where q and k are normalized
   * over their width and several members hold a key head.
   */
  readonly keys: readonly Range[];
  /** What v_proj puts out: the key heads that a member's queries need; others may hold them too. */
  readonly values: readonly Range[];
}

/**
 * What cuts within groups have to take off the largest load: they repeat key heads, and with them
 * weights and cached positions. Where there are many key heads rounding to whole ones loses less.
 */
const leastGain = 1 / 12;

/**
 * Query heads go with the key head that they share, in whole groups, unless members wait much less
 * for each other when groups are cut.
 * @param weights of the members, in their order.
 * @param group columns of o_proj that share a scale: cuts fall between them where they can.
 */
export function divideHeads(
  mixer: AttentionSpec,
  weights: readonly number[],
  group: number,
): AttentionParts {
  const whole = byKeyHeads(mixer, weights, group);
  const most = largestLoad(whole, weights) * (1 - leastGain);
  if (evenLoad(mixer, weights) > most) return whole;
  const cut = byHeads(mixer, weights, group);
  if (fallBetween(whole.queries, group) && !fallBetween(cut.queries, group)) return whole;
  return largestLoad(cut, weights) <= most ? cut : whole;
}

/** Whether ranges of columns begin and end between groups of them. */
export function fallBetween(ranges: readonly Range[], group: number): boolean {
  return ranges.every(({ first, count }) => first % group === 0 && count % group === 0);
}

/** Of the members, each for its weight: who has the most to do is waited for. */
export function largestLoad(parts: AttentionParts, weights: readonly number[]): number {
  const loads = weights.map((weight, member) => {
    const count = (ranges: readonly Range[]) => ranges[member]?.count ?? 0;
    return load(count(parts.queries), count(parts.keys), count(parts.values)) / weight;
  });
  return Math.max(...loads);
}

/** What no division can have less of as its largest load. */
function evenLoad(mixer: AttentionSpec, weights: readonly number[]): number {
  const { query, key } = attentionWidths(mixer);
  return load(query, key, key) / weights.reduce((total, weight) => total + weight, 0);
}

/**
 * In rows and columns of matrices: a query head has rows of q_proj, columns of o_proj, and its
 * attention, which is as much as either where it sees half as many positions as the model is wide.
 */
function load(queries: number, keys: number, values: number): number {
  return 3 * queries + keys + values;
}

/**
 * In whole groups of queries. Where there are fewer key heads than members, members repeat one and
 * share its queries.
 */
export function byKeyHeads(
  mixer: AttentionSpec,
  weights: readonly number[],
  group: number,
): AttentionParts {
  const { headWidth, keyHeads, heads, headNorm } = mixer;
  const sharing = heads / keyHeads;
  if (keyHeads >= weights.length) {
    const together = unitOf(sharing * headWidth, keyHeads, weights.length, group);
    const counts = apportion(keyHeads / together, weights);
    const values = rangesOf(counts, together * headWidth);
    return { queries: rangesOf(counts, together * sharing * headWidth), keys: values, values };
  }
  const runs = evenRuns(keyHeads, weights, sharing);
  const queries: Range[] = [];
  const values: Range[] = [];
  for (const [keyHead, run] of runs.entries()) {
    const own = weights.slice(queries.length, queries.length + run);
    const together = unitOf(headWidth, sharing, run, group);
    const counts = apportion(sharing / together, own);
    queries.push(...rangesOf(counts, together * headWidth, keyHead * sharing * headWidth));
    values.push(...own.map(() => ({ first: keyHead * headWidth, count: headWidth })));
  }
  return { queries, keys: headNorm === 'width' ? wholeKeys(mixer, weights) : values, values };
}

/** At any query head, so that the largest load is as small as can be. */
function byHeads(mixer: AttentionSpec, weights: readonly number[], group: number): AttentionParts {
  const { headWidth, keyHeads, heads, headNorm } = mixer;
  const together = unitOf(headWidth, heads, weights.length, group);
  const valuesOf = (queries: Range): Range => {
    const sharing = heads / keyHeads;
    const first = Math.floor(queries.first / headWidth / sharing);
    const end = Math.ceil((queries.first + queries.count) / headWidth / sharing);
    return { first: first * headWidth, count: (end - first) * headWidth };
  };
  const columns = ({ first, count }: Range): Range => ({
    first: first * together * headWidth,
    count: count * together * headWidth,
  });
  const cuts = cutEvenly(heads / together, weights, (units) => {
    const queries = columns(units);
    const values = valuesOf(queries).count;
    const keys = headNorm === 'width' ? attentionWidths(mixer).key : values;
    return load(queries.count, keys, values);
  });
  const queries = cuts.map(columns);
  const values = queries.map(valuesOf);
  return { queries, keys: headNorm === 'width' ? wholeKeys(mixer, weights) : values, values };
}

function wholeKeys(mixer: AttentionSpec, weights: readonly number[]): Range[] {
  return weights.map(() => ({ first: 0, count: attentionWidths(mixer).key }));
}
