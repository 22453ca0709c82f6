import { invariant } from '../../base/error.ts';
import type { Axis, ModelParameter } from '../parameters.ts';
import type { SplitPlan } from './plan.ts';
import type { Range } from './shares.ts';

/** What a rank has of a parameter. */
export interface ParameterPart {
  /**
   * `first`: whole, on the first of the ranks that share its layer; `whole`: the layer is on this
   * rank alone.
   */
  readonly split: 'replicated' | 'columns' | 'rows' | 'first' | 'whole';
  /** Of the first dimension; they lie below each other. */
  readonly rows: readonly Range[];
  /** Of the last dimension; a vector has one. */
  readonly columns: Range;
}

/** A rank's part of a parameter of the whole model; null where it has none. */
export function partOf(parameter: ModelParameter, plan: SplitPlan): ParameterPart | null {
  const { layer, shape, split } = parameter;
  if (!isOnStage(layer, plan)) return null;
  const [rowCount = 1, columnCount = 1] = shape;
  const rows = [{ first: 0, count: rowCount }];
  const columns = { first: 0, count: columnCount };
  if (plan.stages.length > 1) return { split: 'whole', rows, columns };
  if (split.kind === 'replicated') return { split: 'replicated', rows, columns };
  if (split.kind === 'columns') {
    let above = 0;
    const sections = split.sections.map(({ size, axis }) => {
      const { first, count } = rangeAlong(axis, layer, plan);
      above += size;
      return { first: above - size + first, count };
    });
    return { split: 'columns', rows: sections, columns };
  }
  if (joinOf(split.axis, layer, plan) === 'gather') {
    return { split: 'columns', rows: [ownRange(plan.width, plan)], columns };
  }
  if (parameter.role !== 'bias') {
    return { split: 'rows', rows, columns: rangeAlong(split.axis, layer, plan) };
  }
  return plan.member === 0 ? { split: 'first', rows, columns } : null;
}

/** Shape of a part of a parameter that has `shape` as a whole. */
export function partShape({ rows, columns }: ParameterPart, shape: readonly number[]): number[] {
  const height = rows.reduce((sum, { count }) => sum + count, 0);
  return shape.length === 1 ? [height] : [height, columns.count];
}

/** Embedding, final norm and head are on the first stage, which draws the tokens. */
function isOnStage(layer: number | null, { stage, stages }: SplitPlan): boolean {
  if (layer === null) return stage === 0;
  const { first, count } = ownRange(stages, { member: stage });
  return layer >= first && layer < first + count;
}

function rangeAlong(axis: Axis, layer: number | null, plan: SplitPlan): Range {
  if (axis === 'vocabulary') return ownRange(plan.vocabulary, plan);
  return ownRange(layerOf(layer, plan)[axis], plan);
}

function joinOf(axis: 'queries' | 'inner', layer: number | null, plan: SplitPlan) {
  const { mixerJoin, feedForwardJoin } = layerOf(layer, plan);
  return axis === 'queries' ? mixerJoin : feedForwardJoin;
}

function layerOf(layer: number | null, plan: SplitPlan) {
  const parts = plan.layers[layer ?? -1];
  invariant(parts !== undefined, `layer ${layer} is not planned`);
  return parts;
}

/** The range of a rank's own. */
export function ownRange(ranges: readonly Range[], { member }: Pick<SplitPlan, 'member'>): Range {
  const range = ranges[member];
  invariant(range !== undefined, `member ${member} has no range`);
  return range;
}
