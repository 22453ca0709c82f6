import { instanceId, modelId } from '../../src/base/ids.ts';
import { limits } from '../../src/base/limits.ts';
import type { EngineSettings } from '../../src/engine/protocol.ts';
import { Instance, type InstanceParts } from '../../src/node/instance.ts';
import type { RankPlan } from '../../src/node/rank-plan.ts';
import { KnownAnswers } from '../../src/node/self-check.ts';
import { manifestOf } from './fake-ranks.ts';

export const fakeSettings: EngineSettings = {
  executor: 'cpu',
  precise: true,
  contextLength: null,
  cacheBytes: 2 ** 20,
  slots: 4,
  threads: 0,
};

export function fakePlan(ranks: number, kind: 'tensor' | 'pipeline' = 'tensor'): RankPlan {
  return {
    kind: ranks === 1 ? 'single' : kind,
    ranks,
    weightBytes: 1_000,
    cacheBytesPerPosition: 10,
    wholeCacheBytesPerPosition: 10,
    programs: [],
    contextLength: 128,
  };
}

/** What an instance needs besides its ranks and its clock. */
export const quietParts: Omit<InstanceParts, 'spawner' | 'clock' | 'knownAnswers'> = {
  randomBytes: (count) => new Uint8Array(count).fill(7),
  silenceMs: limits.rankStoppedMs,
  groupBackend: 'tcp',
  cores: 8,
  onChange: () => {},
  onLog: () => {},
};

export type FakeInstanceOptions = Pick<InstanceParts, 'spawner' | 'clock'> &
  Partial<InstanceParts> & {
    readonly model?: string;
    readonly plan?: RankPlan;
    readonly settings?: Partial<EngineSettings>;
    readonly fewer?: (plan: RankPlan) => RankPlan | null;
  };

/** An instance of a small model, of one rank unless its plan says otherwise. */
export function fakeInstance(options: FakeInstanceOptions): Instance {
  const { model = 'm', plan, settings, fewer, ...parts } = options;
  return new Instance(
    {
      id: instanceId('instance-1'),
      model: modelId(model),
      version: '1',
      manifest: manifestOf('m'),
      settings: { ...fakeSettings, ...settings },
      plan: plan ?? fakePlan(1),
    },
    { ...quietParts, knownAnswers: new KnownAnswers(), ...parts },
    fewer ?? (() => null),
  );
}
