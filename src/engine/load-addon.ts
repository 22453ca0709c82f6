import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { CideryError } from '../base/error.ts';
import type { Addon } from './addon.ts';

/**
 * `mlx` is linked to MLX; `cpu` to nothing but the C++ library. `ring` holds both executors and
 * MLX's ring, for tests and the bench.
 */
export type AddonName = 'cpu' | 'mlx' | 'ring';

/** What builds an addon that is not there: `mlx` is built for a GPU and where it is asked for. */
const setUpOf: Readonly<Record<AddonName, string>> = {
  cpu: 'node scripts/setup.mjs',
  mlx: 'CIDERY_EXECUTOR=mlx node scripts/setup.mjs',
  ring: 'node scripts/setup.mjs --for-tests',
};

/** The face of the addon that this code was written for; see native/addon/executors.cpp. */
const abi = '3';

const methods = [
  'info',
  'openEngine',
  'loadParameters',
  'listenGroup',
  'closeListener',
  'joinGroup',
  'bind',
  'step',
  'takeBackStep',
  'follow',
  'stepsDone',
  'memory',
  'closeEngine',
  'watchLifeline',
] as const satisfies readonly (keyof Addon)[];

/** All functions are there; what they take and bring is the C++ side's part of the contract. */
const addonSchema = z.custom<Addon>((value) => {
  const shape = z.object(Object.fromEntries(methods.map((name) => [name, functionSchema])));
  return shape.safeParse(value).success;
});
const functionSchema = z.custom((value) => typeof value === 'function');

const hints: Readonly<Record<string, string>> = {
  executor_unavailable: 'choose another executor, or load the addon that holds this one',
  device_unavailable: 'start without the GPU',
  isa_unsupported: 'set CIDERY_ISA to one of these, or leave it out',
  addon_in_use: 'load the addon in one thread of a process only',
  model_file_missing: 'fetch the model again; its files were moved or deleted',
  model_file_broken: 'fetch the model again; its files are incomplete or damaged',
  model_file_unreadable: 'check the disk that holds the model',
  group_unavailable: 'leave CIDERY_GROUP out',
  group_listen_failed: 'choose an address of this machine',
  group_connect_failed: 'see whether the other ranks run, and reach this machine',
  out_of_memory: 'choose a smaller model or a shorter context, or end other programs',
};

/**
 * Loads an addon from `CIDERY_ADDONS`, else from `build/PLATFORM-ARCH` of this package, where
 * set-up puts it. Every error that it throws or rejects with becomes a CideryError with the addon's
 * code.
 * @throws {CideryError} `addon_missing`, `addon_unusable` (it does not link on this machine),
 *   `addon_mismatch` (it was built from other sources), `addon_in_use` (another thread of this
 *   process has it).
 */
export function loadAddon(
  name: AddonName,
  environment: Readonly<Record<string, string | undefined>> = process.env,
): Addon {
  const path = join(addonFolder(environment), `cidery_${name}.node`);
  if (!existsSync(path)) {
    throw new CideryError('addon_missing', `there is no '${name}' addon at ${path}`, {
      hint: `run set-up: ${setUpOf[name]}`,
    });
  }
  const loaded = addonSchema.safeParse(requireAddon(path));
  if (!loaded.success) throw mismatch(path, 'functions are missing');
  const addon = withCodedErrors(loaded.data);
  const built = addon.info()['abi'];
  if (built !== abi) throw mismatch(path, `its face is version ${built}, not ${abi}`);
  return addon;
}

function addonFolder(environment: Readonly<Record<string, string | undefined>>): string {
  const given = environment['CIDERY_ADDONS'];
  if (given !== undefined && given !== '') return given;
  // The same from src/engine and from dist/engine.
  const root = fileURLToPath(new URL('../..', import.meta.url));
  return join(root, 'build', `${process.platform}-${process.arch}`);
}

function requireAddon(path: string): unknown {
  try {
    return createRequire(import.meta.url)(path);
  } catch (error) {
    if (addonCode(error) === 'addon_in_use') throw codedError(error);
    throw new CideryError('addon_unusable', `the addon ${path} does not load: ${String(error)}`, {
      hint: 'run set-up again on this machine: node scripts/setup.mjs',
      cause: error,
    });
  }
}

function mismatch(path: string, what: string): CideryError {
  return new CideryError('addon_mismatch', `the addon ${path} does not fit this code: ${what}`, {
    hint: 'run set-up again: node scripts/setup.mjs',
  });
}

function addonCode(error: unknown): string | undefined {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  return typeof code === 'string' ? code : undefined;
}

function codedError(error: unknown): CideryError {
  const code = addonCode(error) ?? 'internal';
  const message = error instanceof Error ? error.message : String(error);
  const hint = hints[code];
  return new CideryError(code, message, { cause: error, ...(hint === undefined ? {} : { hint }) });
}

function withCodedErrors(addon: Addon): Addon {
  const now = <Result>(call: () => Result): Result => {
    try {
      return call();
    } catch (error) {
      throw codedError(error);
    }
  };
  const later = async <Result>(call: () => Promise<Result>): Promise<Result> => {
    try {
      return await call();
    } catch (error) {
      throw codedError(error);
    }
  };
  return {
    info: () => now(() => addon.info()),
    openEngine: (options) => now(() => addon.openEngine(options)),
    loadParameters: (engine, sources) => later(() => addon.loadParameters(engine, sources)),
    listenGroup: (host) => now(() => addon.listenGroup(host)),
    closeListener: (listener) => now(() => addon.closeListener(listener)),
    joinGroup: (engine, listener, group) => later(() => addon.joinGroup(engine, listener, group)),
    bind: (engine) => later(() => addon.bind(engine)),
    step: (engine, plan) => later(() => addon.step(engine, plan)),
    takeBackStep: (engine) => now(() => addon.takeBackStep(engine)),
    follow: (engine) => later(() => addon.follow(engine)),
    stepsDone: (engine) => now(() => addon.stepsDone(engine)),
    memory: (engine) => now(() => addon.memory(engine)),
    closeEngine: (engine) => later(() => addon.closeEngine(engine)),
    watchLifeline: (descriptor, code) => now(() => addon.watchLifeline(descriptor, code)),
  };
}
