import { CideryError } from '../../base/error.ts';
import { limits } from '../../base/limits.ts';
import { layerPath } from '../parameters.ts';
import type { ParameterStorage } from '../program.ts';
import { groupOf } from '../quantization.ts';
import type { AttentionSpec, ModelSpec } from '../spec.ts';
import { type AttentionParts, divideHeads, fallBetween } from './heads.ts';
import { apportion, type Range, rangesOf, unitOf } from './shares.ts';

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
export interface LayerParts extends AttentionParts {
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
  const divided = new Map<string, AttentionParts>();
  /** Most layers are alike, and a model may have a hundred of them. */
  const attentionOf = (mixer: AttentionSpec, group: number): AttentionParts => {
    const key = JSON.stringify([mixer, group]);
    const parts = divided.get(key) ?? divideHeads(mixer, among, group);
    divided.set(key, parts);
    return parts;
  };
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
      const attention = attentionOf(layer.mixer, group('self_attn.o_proj'));
      const join = (parts: readonly Range[], divisor: number): JoinKind =>
        among.length === 1 || (!precise && fallBetween(parts, divisor)) ? 'sum' : 'gather';
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

/** In whole groups where that leaves enough; without groups in cache lines of 32-bit values. */
function divideColumns(count: number, weights: readonly number[], group: number): Range[] {
  const unit = unitOf(1, count, weights.length, Math.max(group, 16));
  return rangesOf(apportion(count / unit, weights), unit);
}
