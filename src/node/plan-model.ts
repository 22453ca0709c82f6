import type { ModelId } from '../base/ids.ts';
import type { ModelManifest } from '../model/manifest.ts';
import type { ModelPlans, NewPlan, RankMemory } from './cluster-state.ts';
import { type InstanceDefaults, settingsOf } from './deployments.ts';
import { memoryOfRanks, predictedMemory } from './predicted-memory.ts';
import { planRanks, refuseLongerContext } from './rank-plan.ts';

/** Context that is planned for unless another is asked for. */
const defaultContextPositions = 4_096;

/**
 * How a model would run on this machine, from config and headers alone. Throws `context_too_long`,
 * `split_invalid`, and what `planRanks` throws.
 */
export function planModel(
  model: ModelId,
  manifest: ModelManifest,
  wanted: NewPlan,
  defaults: InstanceDefaults,
  freeBytes: number,
): ModelPlans {
  const { executor, slots } = defaults;
  const settings = settingsOf(wanted, defaults);
  const precise = settings.mode === 'precise';
  const plan = planRanks(manifest, settings, { executor, precise });
  refuseLongerContext(model, wanted.context ?? null, plan);
  const context = Math.min(settings.context ?? defaultContextPositions, plan.contextLength);
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
    mode: settings.mode,
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
