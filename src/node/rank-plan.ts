import { CideryError, errorCode } from '../base/error.ts';
import type { SplitKind } from '../engine/protocol.ts';
import { cacheBytesPerPosition, weightBytes, type WeightMode } from '../model/memory.ts';
import type { ModelManifest } from '../model/manifest.ts';
import { buildModel } from '../model/model.ts';

/** How a model is split over the ranks of an instance, and what they take together. */
export interface RankPlan {
  /** `single`: one rank. */
  readonly kind: 'single' | SplitKind;
  readonly ranks: number;
  readonly weightBytes: number;
  /** Of one position of one sequence; ranks that hold the same keys and values count each. */
  readonly cacheBytesPerPosition: number;
  /** Positions that the model was made for. */
  readonly contextLength: number;
}

export interface WantedSplit {
  readonly ranks: number;
  readonly split: SplitKind | 'auto';
}

/**
 * Plans a model over ranks, from config and headers alone. `auto`: tensor where the model can be
 * split so, else pipeline. Throws `split_impossible`, and what `buildModel` throws.
 */
export function planRanks(
  manifest: ModelManifest,
  wanted: WantedSplit,
  mode: WeightMode,
): RankPlan {
  const { ranks, split } = wanted;
  if (ranks === 1) return planOf('single', [buildModel(manifest)], mode);
  if (split !== 'auto') return splitPlan(manifest, split, ranks, mode);
  try {
    return splitPlan(manifest, 'tensor', ranks, mode);
  } catch (error) {
    if (errorCode(error) !== 'split_impossible') throw error;
    return splitPlan(manifest, 'pipeline', ranks, mode);
  }
}

function splitPlan(
  manifest: ModelManifest,
  kind: SplitKind,
  ranks: number,
  mode: WeightMode,
): RankPlan {
  const { precise } = mode;
  const models = Array.from({ length: ranks }, (_, rank) =>
    buildModel(manifest, { split: { kind, rank, ranks, shares: null }, precise }),
  );
  return planOf(kind, models, mode);
}

function planOf(
  kind: RankPlan['kind'],
  models: readonly ReturnType<typeof buildModel>[],
  mode: WeightMode,
): RankPlan {
  const sum = (bytes: (model: ReturnType<typeof buildModel>) => number) =>
    models.reduce((total, model) => total + bytes(model), 0);
  const contextLength = models[0]?.spec.contextLength;
  if (contextLength === undefined) throw new CideryError('internal', 'bug in cidery: no rank');
  return {
    kind,
    ranks: models.length,
    weightBytes: sum(({ program }) => weightBytes(program, mode)),
    cacheBytesPerPosition: sum(({ program }) => cacheBytesPerPosition(program, mode.precise)),
    contextLength,
  };
}

/** Threads of each rank: as told, or an equal part of the cores; 0 leaves it to a rank alone. */
export function threadsPerRank(told: number, cores: number, ranks: number): number {
  if (told !== 0 || ranks === 1) return told;
  return Math.max(1, Math.floor(cores / ranks));
}
