import { CideryError } from '../base/error.ts';
import { limits } from '../base/limits.ts';
import type { ModelManifest } from '../model/manifest.ts';
import { cacheBytesPerPosition, slotGrowthPositions } from '../model/memory.ts';
import { buildModel, type Model } from '../model/model.ts';
import { encodeProgram } from '../model/program-encoding.ts';
import type { SplitRequest } from '../model/split/plan.ts';
import type { Addon, EngineHandle, ListenerHandle } from './addon.ts';
import { parameterSources } from './parameter-sources.ts';
import type { Address, EngineSettings, GroupBackend } from './protocol.ts';
import { Scheduler } from './scheduler.ts';
import { Slots } from './slots.ts';
import { asCoded, StepLoop } from './step-loop.ts';

interface Opened {
  /** This rank's part of the model. */
  readonly model: Model;
  readonly engine: EngineHandle;
  readonly contextLength: number;
}

/** A model in the addon's memory, ready to step. */
export interface LeadingModel extends Opened {
  readonly loop: StepLoop;
}

/** A part of a model whose steps rank 0 leads. */
export interface FollowingModel extends Opened {
  readonly loop: null;
  /** Settles when rank 0 has left in order; rejects with the group's coded error. */
  readonly followed: Promise<void>;
}

export type OpenModel = LeadingModel | FollowingModel;

/** The ranks that a model is split over. */
export interface ModelGroup extends SplitRequest {
  readonly backend: GroupBackend;
  /** 32 bytes that the ranks of this attempt share. */
  readonly key: Uint8Array;
  /** Where this rank listens; used up. */
  readonly listener: ListenerHandle;
  /** Where all of them listen, in rank order, once each has said so. */
  readonly peers: Promise<readonly Address[]>;
  /** A rank of which nothing is heard for so long is lost. */
  readonly silenceMs: number;
}

/** A context shorter than this is of no use to anybody. */
const leastContextPositions = 256;

/**
 * Loads a model, or a rank's part of one: config to program, program to addon, then every
 * parameter's bytes, while the ranks of a group find each other. Rejects with what `buildModel`
 * throws, `insufficient_memory`, what `group.peers` rejects with, and the addon's coded errors.
 */
export async function openModel(
  addon: Addon,
  manifest: ModelManifest,
  settings: EngineSettings,
  group: ModelGroup | null,
  on: {
    readonly progress: (doneBytes: number, totalBytes: number) => void;
    readonly failure: (error: unknown) => void;
  },
): Promise<OpenModel> {
  const { precise } = settings;
  const whole = buildModel(manifest, { precise });
  const model = group === null ? whole : buildModel(manifest, { precise, split: group });
  // Of the whole model, so that all ranks come to the same.
  const budget = Math.floor(settings.cacheBytes / cacheBytesPerPosition(whole.program, settings));
  const contextLength = fittingContext(manifest.id, whole.spec.contextLength, settings, budget);
  const engine = coded(() =>
    addon.openEngine({
      program: encodeProgram(model.program),
      executor: settings.executor,
      gpu: addon.info()['gpu'] === 'true',
      precise,
      slots: settings.slots,
      positions: contextLength,
      cachePositions: budget,
      threads: settings.threads,
      files: manifest.files.map(({ path }) => path),
    }),
  );
  try {
    await load(addon, engine, model, on.progress);
    if (group !== null) await join(addon, engine, group);
    await addon.bind(engine);
  } catch (error) {
    await addon.closeEngine(engine);
    throw asCoded(error);
  }
  const opened = { model, engine, contextLength };
  if (group !== null && group.rank > 0) {
    return { ...opened, loop: null, followed: addon.follow(engine) };
  }
  const stages = group?.kind === 'pipeline' ? group.ranks : 1;
  const slots = new Slots(settings.slots, budget, slotGrowthPositions[settings.executor]);
  const scheduler = new Scheduler(slots, {
    promptTokensPerStep: limits.promptTokensPerStep,
    promptShareMin: limits.promptShareMin,
    waitingMax: limits.sequencesWaitingMax,
    contextLength,
    sharedPrefixMin: limits.sharedPrefixMin,
    batches: stages,
  });
  const steps = {
    step: (plan: Uint8Array) => addon.step(engine, plan),
    takeBack: () => addon.takeBackStep(engine),
  };
  return { ...opened, loop: new StepLoop(steps, scheduler, stages, on.failure) };
}

async function join(addon: Addon, engine: EngineHandle, group: ModelGroup): Promise<void> {
  const { rank, backend, key, silenceMs } = group;
  const addresses = await group.peers;
  await addon.joinGroup(engine, group.listener, {
    rank,
    addresses,
    backend,
    key,
    connectMs: limits.groupConnectMs,
    silenceMs,
    waitMs: limits.rankStepMs,
  });
}

/** A setting above the model's own maximum is the node's, for whatever model: it is cut. */
function fittingContext(
  id: string,
  ownMax: number,
  settings: EngineSettings,
  budgetPositions: number,
): number {
  const wanted = settings.contextLength;
  const growth = slotGrowthPositions[settings.executor];
  const fitting = Math.floor(budgetPositions / growth) * growth;
  const asked = Math.min(wanted ?? ownMax, ownMax);
  if (fitting < Math.min(asked, leastContextPositions) || (wanted !== null && fitting < asked)) {
    throw new CideryError(
      'insufficient_memory',
      `${id}: memory for keys and values holds ${budgetPositions} positions, not ${asked}`,
      { hint: 'ask for a shorter context (--context) or give it more memory (--kv-memory)' },
    );
  }
  return Math.min(asked, fitting);
}

/** Loads in batches, so that progress is seen and a failure ends it early. */
async function load(
  addon: Addon,
  engine: EngineHandle,
  model: Model,
  progress: (doneBytes: number, totalBytes: number) => void,
): Promise<void> {
  const all = parameterSources(model);
  const totalBytes = all.reduce((sum, { bytes }) => sum + bytes, 0);
  let doneBytes = 0;
  progress(0, totalBytes);
  for (let from = 0; from < all.length; ) {
    let to = from;
    let bytes = 0;
    while (to < all.length && (to === from || bytes < limits.loadBatchBytes)) {
      bytes += all[to]?.bytes ?? 0;
      to += 1;
    }
    await addon.loadParameters(
      engine,
      all.slice(from, to).map(({ source }) => source),
    );
    from = to;
    doneBytes += bytes;
    progress(doneBytes, totalBytes);
  }
}

/** What the addon throws, as a coded error of ours. */
export function coded<Value>(call: () => Value): Value {
  try {
    return call();
  } catch (error) {
    throw asCoded(error);
  }
}
