import type { ModelId } from '../base/ids.ts';
import type { EngineSettings } from '../engine/protocol.ts';
import type { ModelManifest } from '../model/manifest.ts';
import type { ModelPlans, RankMemory } from './cluster-state.ts';
import { memoryOfRanks, predictedMemory } from './predicted-memory.ts';
import { planRanks, type WantedSplit } from './rank-plan.ts';

/** Context that is planned for unless another is asked for. */
const defaultContextPositions = 4_096;

/** What a plan is made for. */
export interface PlannedSettings
  extends WantedSplit,
    Pick<EngineSettings, 'executor' | 'precise' | 'slots'> {
  /** Null: what suits most. */
  readonly contextLength: number | null;
  readonly freeBytes: number;
}

/**
 * How a model would run on this machine, from config and headers alone. Throws what `planRanks`
 * throws.
 */
export function planModel(
  model: ModelId,
  manifest: ModelManifest,
  wanted: PlannedSettings,
): ModelPlans {
  const { executor, precise, slots, freeBytes } = wanted;
  const plan = planRanks(manifest, wanted, { executor, precise });
  const context = Math.min(wanted.contextLength ?? defaultContextPositions, plan.contextLength);
  const ranks = predictedMemory(plan, {
    executor,
    precise,
    slots,
    contextLength: context,
    // Whatever it takes: whether that is there is what a plan says.
    cacheBytes: context * plan.wholeCacheBytesPerPosition,
  });
  const sum = (part: keyof RankMemory) => ranks.reduce((total, rank) => total + rank[part], 0);
  const neededBytes = memoryOfRanks(ranks);
  const fits = neededBytes <= freeBytes;
  return {
    model,
    context,
    mode: precise ? 'precise' : 'fast',
    plans: [
      {
        kind: plan.kind,
        ranks: plan.ranks,
        chosen: fits,
        reason: fits ? 'the only machine' : 'it does not fit the free memory',
        memory: {
          weightBytes: sum('weightBytes'),
          cacheBytes: sum('cacheBytes'),
          workingBytes: sum('workingBytes'),
          neededBytes,
          freeBytes,
        },
        predicted: null,
      },
    ],
  };
}
