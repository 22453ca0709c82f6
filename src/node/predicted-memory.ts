import { limits } from '../base/limits.ts';
import type { EngineSettings } from '../engine/protocol.ts';
import { cacheBytesPerPosition, slotGrowthPositions, weightBytes } from '../model/memory.ts';
import { workingBytes } from '../model/working-memory.ts';
import type { RankMemory } from './cluster-state.ts';
import type { RankPlan } from './rank-plan.ts';

type Settings = Pick<
  EngineSettings,
  'executor' | 'precise' | 'contextLength' | 'cacheBytes' | 'slots'
>;

/** What each rank of a plan takes, from config and headers alone. */
export function predictedMemory(plan: RankPlan, settings: Settings): RankMemory[] {
  const { executor, slots } = settings;
  const positions = contextOf(plan, settings);
  const growth = slotGrowthPositions[executor];
  const held = Math.ceil(positions / growth) * growth;
  const step = { tokens: Math.max(limits.promptTokensPerStep, slots), selected: slots, positions };
  return plan.programs.map((program) => ({
    weightBytes: weightBytes(program, settings),
    cacheBytes: held * cacheBytesPerPosition(program, settings),
    workingBytes: workingBytes(program, settings, step),
  }));
}

/** Of all ranks together. */
export function memoryOfRanks(ranks: readonly RankMemory[]): number {
  return ranks.reduce((sum, rank) => sum + memoryOfRank(rank), 0);
}

function memoryOfRank(rank: RankMemory): number {
  return rank.weightBytes + rank.cacheBytes + rank.workingBytes;
}

/** Positions that a sequence may have. */
function contextOf(plan: RankPlan, { contextLength, cacheBytes }: Settings): number {
  const fitting = Math.floor(cacheBytes / Math.max(1, plan.wholeCacheBytesPerPosition));
  return Math.min(contextLength ?? plan.contextLength, plan.contextLength, fitting);
}
