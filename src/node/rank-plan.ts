import { CideryError } from '../base/error.ts';
import type { ModelId } from '../base/ids.ts';
import { cacheBytesPerPosition, weightBytes, type WeightMode } from '../model/memory.ts';
import type { ModelManifest } from '../model/manifest.ts';
import { buildModel, type Model } from '../model/model.ts';
import type { Program } from '../model/program.ts';
import { chooseSplit, type SplitKind } from '../model/split/plan.ts';
import type { NewPlan } from './cluster-state.ts';

/** How a model is split over the ranks of an instance, and what they take together. */
export interface RankPlan {
  /** `single`: one rank. */
  readonly kind: 'single' | SplitKind;
  readonly ranks: number;
  readonly weightBytes: number;
  /** Of one position of one sequence; ranks that hold the same keys and values count each. */
  readonly cacheBytesPerPosition: number;
  /** The same of the model on one rank, which is what a budget for keys and values counts. */
  readonly wholeCacheBytesPerPosition: number;
  /** What each rank runs, in rank order. */
  readonly programs: readonly Program[];
  /** Positions that the model was made for. */
  readonly contextLength: number;
}

export interface WantedSplit {
  readonly ranks: number;
  readonly split: SplitKind | 'auto';
}

/**
 * Plans a model over ranks, from config and headers alone. `auto`: tensor where the model can be
 * split so, else pipeline. Throws `split_impossible`, `split_invalid`, and what `buildModel`
 * throws.
 */
export function planRanks(
  manifest: ModelManifest,
  wanted: WantedSplit,
  mode: WeightMode,
): RankPlan {
  const { ranks, split } = wanted;
  const whole = buildModel(manifest);
  if (ranks === 1) return planOf('single', whole, [whole], mode);
  const kind = split === 'auto' ? chooseSplit(whole.spec, ranks) : split;
  const { precise } = mode;
  const ofRank = (rank: number) =>
    buildModel(manifest, { split: { kind, rank, ranks, shares: null }, precise });
  return planOf(
    kind,
    whole,
    Array.from({ length: ranks }, (_, rank) => ofRank(rank)),
    mode,
  );
}

/**
 * A kind of split alone says nothing of how many ranks are wanted, and one is not split. Throws
 * `split_invalid`.
 */
export function refuseSplitAlone({ split, ranks }: Pick<NewPlan, 'split' | 'ranks'>): void {
  if (split === undefined || split === 'auto' || ranks !== undefined) return;
  throw new CideryError('split_invalid', `split ${split} needs a number of ranks`, {
    hint: 'give ranks as well, such as 2, or leave split out',
  });
}

/**
 * A longer context than the model was made for would be cut; whoever asked for it is told so.
 *
 * @param asked for this model; null: for none in particular
 */
export function refuseLongerContext(
  model: ModelId,
  asked: number | null,
  { contextLength }: Pick<RankPlan, 'contextLength'>,
): void {
  if (asked === null || asked <= contextLength) return;
  throw new CideryError(
    'context_too_long',
    `${model} has a context of at most ${contextLength} tokens, not ${asked}`,
    { hint: `ask for ${contextLength} or fewer, or leave the context out` },
  );
}

function planOf(
  kind: RankPlan['kind'],
  whole: Model,
  models: readonly Model[],
  mode: WeightMode,
): RankPlan {
  const programs = models.map(({ program }) => program);
  const sum = (bytes: (program: Program, mode: WeightMode) => number) =>
    programs.reduce((total, program) => total + bytes(program, mode), 0);
  return {
    kind,
    ranks: models.length,
    weightBytes: sum(weightBytes),
    cacheBytesPerPosition: sum(cacheBytesPerPosition),
    wholeCacheBytesPerPosition: cacheBytesPerPosition(whole.program, mode),
    programs,
    contextLength: whole.spec.contextLength,
  };
}

/** Threads of each rank: as told, or an equal part of the cores; 0 leaves it to a rank alone. */
export function threadsPerRank(told: number, cores: number, ranks: number): number {
  if (told !== 0 || ranks === 1) return told;
  return Math.max(1, Math.floor(cores / ranks));
}
