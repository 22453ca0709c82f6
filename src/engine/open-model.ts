import { CideryError, errorMessage } from '../base/error.ts';
import { limits } from '../base/limits.ts';
import type { ModelManifest } from '../model/manifest.ts';
import { cacheBytesPerPosition } from '../model/memory.ts';
import { buildModel, type Model } from '../model/model.ts';
import { encodeProgram } from '../model/program-encoding.ts';
import type { Addon, EngineHandle } from './addon.ts';
import { parameterSources } from './parameter-sources.ts';
import type { EngineSettings } from './protocol.ts';
import { Scheduler } from './scheduler.ts';
import { Slots } from './slots.ts';
import { codeOf, StepLoop } from './step-loop.ts';

/** A model in the addon's memory, ready to step. */
export interface OpenModel {
  readonly model: Model;
  readonly engine: EngineHandle;
  readonly loop: StepLoop;
  readonly contextLength: number;
}

/** A context shorter than this is of no use to anybody. */
const leastContextPositions = 256;
/** Positions by which an executor grows a slot: blocks of 16, and MLX arrays of 256. */
const slotGrowthPositions = { cpu: 16, mlx: 256 } as const;

/**
 * Loads a model: config to program, program to addon, then every parameter's bytes. Rejects with
 * what `buildModel` throws, `insufficient_memory`, and the addon's coded errors.
 */
export async function openModel(
  addon: Addon,
  manifest: ModelManifest,
  settings: EngineSettings,
  on: {
    readonly progress: (doneBytes: number, totalBytes: number) => void;
    readonly failure: (error: unknown) => void;
  },
): Promise<OpenModel> {
  const model = buildModel(manifest);
  const { program } = model;
  const budget = Math.floor(settings.cacheBytes / cacheBytesPerPosition(program, settings));
  const contextLength = fittingContext(manifest.id, model.spec.contextLength, settings, budget);
  const engine = coded(() =>
    addon.openEngine({
      program: encodeProgram(program),
      executor: settings.executor,
      gpu: addon.info()['gpu'] === 'true',
      precise: settings.precise,
      slots: settings.slots,
      positions: contextLength,
      cachePositions: budget,
      threads: settings.threads,
      files: manifest.files.map(({ path }) => path),
    }),
  );
  await load(addon, engine, model, on.progress);
  const slots = new Slots(settings.slots, budget, slotGrowthPositions[settings.executor]);
  const scheduler = new Scheduler(slots, {
    promptTokensPerStep: limits.promptTokensPerStep,
    promptShareMin: limits.promptShareMin,
    waitingMax: limits.sequencesWaitingMax,
    contextLength,
    sharedPrefixMin: limits.sharedPrefixMin,
    batches: 1,
  });
  const loop = new StepLoop(addon, engine, scheduler, 1, on.failure);
  return { model, engine, loop, contextLength };
}

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
  try {
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
    await addon.bind(engine);
  } catch (error) {
    await addon.closeEngine(engine);
    throw new CideryError(codeOf(error), errorMessage(error), { cause: error });
  }
}

function coded<Value>(call: () => Value): Value {
  try {
    return call();
  } catch (error) {
    throw new CideryError(codeOf(error), errorMessage(error), { cause: error });
  }
}
