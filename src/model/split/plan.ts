import { CideryError } from '../../base/error.ts';
import { limits } from '../../base/limits.ts';
import { attentionWidths, layerPath } from '../parameters.ts';
import type { ParameterStorage } from '../program.ts';
import { groupOf } from '../quantization.ts';
import type { AttentionSpec, ModelSpec } from '../spec.ts';
import { apportion, evenRuns, type Range, rangesOf } from './shares.ts';

/**
 * How a model is divided: `tensor` gives every rank a part of each layer, `pipeline` consecutive
 * layers.
 */
export const splitKinds = ['tensor', 'pipeline'] as const;
export type SplitKind = (typeof splitKinds)[number];

export interface SplitRequest {
  readonly kind: SplitKind;
  readonly rank: number;
  readonly ranks: number;
  /** A weight for each rank; null: equal shares. */
  readonly shares: readonly number[] | null;
}

/**
 * How a matrix of a divided layer leads back to the whole width. `sum`: each rank multiplies its
 * columns of the input, and the products are added. `gather`: the input is gathered, each rank
 * makes its columns of the output, and those are gathered.
 */
export type JoinKind = 'sum' | 'gather';

/** What each member has of a layer, in columns of the activations. */
export interface LayerParts {
  readonly queries: readonly Range[];
  /**
   * What k_proj puts out. The same as `values`, but for whole keys where q and k are normalized
   * over their width and several members share a key head.
   */
  readonly keys: readonly Range[];
  /** What v_proj puts out, and the key heads of the attention; members may repeat one. */
  readonly values: readonly Range[];
  readonly inner: readonly Range[];
  readonly mixerJoin: JoinKind;
  readonly feedForwardJoin: JoinKind;
}

/**
 * Who has what. Ranks are stages of one member each (pipeline) or one stage of many members
 * (tensor); the members of a stage share each of its layers.
 */
export interface SplitPlan {
  readonly rank: number;
  readonly ranks: number;
  readonly stage: number;
  /** Layers of each stage. */
  readonly stages: readonly Range[];
  readonly member: number;
  readonly members: number;
  /** Rows of the embedding and of the head that each member has. */
  readonly vocabulary: readonly Range[];
  /** Columns of the hidden state that each member makes where a join gathers. */
  readonly width: readonly Range[];
  readonly layers: readonly LayerParts[];
}

/** A program's own rank among one: everything. */
export const wholeSplit: SplitRequest = { kind: 'tensor', rank: 0, ranks: 1, shares: null };

/**
 * Plans a rank's part of a model.
 * @param storageOf storage of a matrix by its path: what is summed is cut in its groups.
 * @throws CideryError `split_invalid` for numbers that are none, `split_impossible` where the model
 *   has too few parts.
 */
export function planSplit(
  spec: ModelSpec,
  request: SplitRequest,
  precise: boolean,
  storageOf: (path: string) => ParameterStorage,
): SplitPlan {
  const { kind, rank, ranks, shares } = request;
  checkRequest(request);
  const problem = obstacle(spec, kind, ranks);
  if (problem !== null) throw impossible(spec, kind, ranks, problem);
  const weights = shares ?? Array.from({ length: ranks }, () => 1);
  const among = kind === 'tensor' ? weights : [1];
  const stages = kind === 'tensor' ? [1] : weights;
  return {
    rank,
    ranks,
    stage: kind === 'tensor' ? 0 : rank,
    stages: rangesOf(apportion(spec.layers.length, stages)),
    member: kind === 'tensor' ? rank : 0,
    members: among.length,
    vocabulary: rangesOf(apportion(spec.vocabulary, among)),
    width: divideColumns(spec.width, among, 1),
    layers: spec.layers.map((layer, index) => {
      const group = (module: string) =>
        precise ? 1 : groupOf(storageOf(`${layerPath(spec, index)}.${module}.weight`));
      const inner = divideColumns(layer.feedForward.inner, among, group('mlp.down_proj'));
      const attention = divideAttention(layer.mixer, among, group('self_attn.o_proj'));
      const join = (parts: readonly Range[], divisor: number): JoinKind => {
        const cut = parts.every(
          ({ first, count }) => first % divisor === 0 && count % divisor === 0,
        );
        return among.length === 1 || (cut && !precise) ? 'sum' : 'gather';
      };
      return {
        ...attention,
        inner,
        mixerJoin: join(attention.queries, group('self_attn.o_proj')),
        feedForwardJoin: join(inner, group('mlp.down_proj')),
      };
    }),
  };
}

/**
 * The kind of split for so many ranks when the user has no preference: tensor where it is possible.
 * @throws CideryError `split_invalid`, `split_impossible`.
 */
export function chooseSplit(spec: ModelSpec, ranks: number): SplitKind {
  checkRequest({ kind: 'tensor', rank: 0, ranks, shares: null });
  const problem = obstacle(spec, 'tensor', ranks);
  if (problem === null) return 'tensor';
  if (obstacle(spec, 'pipeline', ranks) === null) return 'pipeline';
  throw impossible(spec, 'tensor', ranks, problem);
}

function checkRequest({ rank, ranks, shares }: SplitRequest): void {
  const invalid = (message: string, hint: string) =>
    new CideryError('split_invalid', message, { hint });
  if (!Number.isInteger(ranks) || ranks < 1 || ranks > limits.ranksMax) {
    throw invalid(
      `a model cannot be split over ${ranks} ranks`,
      `ask for 1 to ${limits.ranksMax} ranks`,
    );
  }
  if (!Number.isInteger(rank) || rank < 0 || rank >= ranks) {
    throw invalid(`there is no rank ${rank} of ${ranks}`, 'ranks count from 0');
  }
  if (shares === null) return;
  if (shares.length !== ranks) {
    throw invalid(`${shares.length} shares are given for ${ranks} ranks`, 'give one a rank');
  }
  if (!shares.every((share) => share > 0 && share <= limits.rankShareMax)) {
    throw invalid(
      `a share is no number from above 0 to ${limits.rankShareMax}`,
      'shares are weights, such as 2 and 1',
    );
  }
}

/** What is there too few of for so many ranks; null: nothing. */
function obstacle(spec: ModelSpec, kind: SplitKind, ranks: number): string | null {
  const { number, name } = fewest(spec, kind);
  return number >= ranks ? null : `${number} ${name}`;
}

/** The parts that bound how many ranks may share a model. */
function fewest(spec: ModelSpec, kind: SplitKind): { number: number; name: string } {
  if (kind === 'pipeline') return { number: spec.layers.length, name: 'layers' };
  const parts = [
    ...spec.layers.flatMap(({ mixer, feedForward }) => [
      { number: mixer.heads, name: 'heads' },
      { number: feedForward.inner, name: 'inner columns' },
    ]),
    { number: spec.width, name: 'columns of hidden state' },
    { number: spec.vocabulary, name: 'tokens' },
  ];
  return parts.reduce((least, part) => (part.number < least.number ? part : least));
}

function impossible(spec: ModelSpec, kind: SplitKind, ranks: number, has: string): CideryError {
  const other: SplitKind = kind === 'tensor' ? 'pipeline' : 'tensor';
  const most = fewest(spec, kind).number;
  const instead =
    obstacle(spec, other, ranks) === null
      ? `split it by ${other}, or over at most ${most}`
      : `use at most ${Math.max(most, fewest(spec, other).number)} ranks` +
        (fewest(spec, other).number > most ? `, split by ${other}` : '');
  return new CideryError(
    'split_impossible',
    `this model has ${has}: too few for a ${kind} split over ${ranks} ranks`,
    { hint: instead },
  );
}

/**
 * Heads go with the key head that they share. Where there are fewer key heads than members, members
 * repeat one and share its queries; where there are enough, cuts fall between groups of o_proj if
 * they can.
 */
function divideAttention(mixer: AttentionSpec, weights: readonly number[], group: number) {
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
  const whole = weights.map(() => ({ first: 0, count: attentionWidths(mixer).key }));
  return { queries, keys: headNorm === 'width' ? whole : values, values };
}

/** In whole groups where that leaves enough; without groups in cache lines of 32-bit values. */
function divideColumns(count: number, weights: readonly number[], group: number): Range[] {
  const unit = unitOf(1, count, weights.length, Math.max(group, 16));
  return rangesOf(apportion(count / unit, weights), unit);
}

/**
 * How many of `count` things of a width stay together so that cuts fall between groups; 1 where
 * that leaves too few for all members.
 */
function unitOf(width: number, count: number, members: number, group: number): number {
  const unit = group / greatestDivisor(group, width);
  return count % unit === 0 && count / unit >= members ? unit : 1;
}

function greatestDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestDivisor(b, a % b);
}
