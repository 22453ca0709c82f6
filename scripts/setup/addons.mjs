import { mkdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { callCompiler, compileFlags, findCompiler, linkFlags } from './compiler.mjs';
import { mlxFlags, noCompilerError, nodeFlags } from './compiler.mjs';
import { SetupError } from './error.mjs';
import { hashOf, hashOfFiles, textIfThere } from './hash.mjs';
import { findMlx, mlxIdentity, placeLibraries } from './mlx.mjs';
import { compileObjects, removeUnfinished } from './objects.mjs';
import { lastLines, run } from './process.mjs';
import { during } from './progress.mjs';
import { checkSetObjects, forEachSet, instructionSets } from './sets.mjs';
import { addonSources, nativeFiles } from './sources.mjs';

/** @typedef {import('./context.mjs').Context} Context */
/** @typedef {import('./compiler.mjs').Compiler} Compiler */
/** @typedef {import('./mlx.mjs').Mlx} Mlx */
/** @typedef {import('./objects.mjs').ObjectTask} ObjectTask */
/** @typedef {import('./sources.mjs').AddonName} AddonName */
/** @typedef {{ key: string, compiler: string, files: [path: string, size: number][] }} Stamp */

const loadTimeoutMs = 60_000;
/**
 * What an addon's face is told about the executors behind it; MLX's flags say it for MLX.
 * @type {Record<AddonName, readonly string[]>}
 */
const faceFlags = {
  cpu: ['-DCIDERY_WITH_CPU=1'],
  mlx: [],
  ring: ['-DCIDERY_WITH_CPU=1', '-DCIDERY_WITH_RING=1'],
};

/**
 * Where an addon lies.
 * @param {Pick<Context, 'build'>} context
 * @param {AddonName} addon
 */
function addonPath({ build }, addon) {
  return join(build, `cidery_${addon}.node`);
}

/**
 * Whether an addon was built from the sources as they are, by this compiler. Where there is no
 * compiler any more, what it built still serves.
 * @param {Context} context
 * @param {AddonName} addon
 */
export async function addonIsBuilt(context, addon) {
  const stamp = readStamp(context, addon);
  if (stamp === undefined) return false;
  if (stamp.key !== sourceKey(context, addon)) return false;
  const whole = stamp.files.every(([path, size]) => sizeOf(join(context.build, path)) === size);
  if (!whole) return false;
  const compiler = await findCompiler(context);
  return compiler === undefined || compiler.identity === stamp.compiler;
}

/**
 * Compiles and links an addon, and loads it once to see that it is whole.
 * @param {Context} context
 * @param {AddonName} addon
 */
export async function buildAddon(context, addon) {
  const compiler = await findCompiler(context);
  if (compiler === undefined) throw noCompilerError(context);
  const key = sourceKey(context, addon);
  const mlx = addon === 'cpu' ? undefined : await findMlx(context);
  const tasks = objectTasks(context, compiler, addon, mlx);
  if (tasks.length === 0) {
    throw new SetupError(
      'native/ holds no sources',
      'restore the checkout (`git checkout native`)',
    );
  }
  await during(context.progress, `building the ${addon} addon`, async () => {
    await compileObjects(context, compiler, tasks);
    await checkSetObjects(context, tasks);
    const libraries = mlx?.wheel === undefined ? [] : placeLibraries(mlx.wheel, context.build);
    await link(context, compiler, addon, { objects: tasks.map(({ object }) => object), mlx });
    const path = addonPath(context, addon);
    /** @type {Stamp} */
    const stamp = {
      key,
      compiler: compiler.identity,
      files: [...libraries, [basename(path), statSync(path).size]],
    };
    writeFileSync(stampPath(context, addon), JSON.stringify(stamp));
  });
}

/**
 * The objects of an addon. Those that several addons share are made once.
 * @param {Context} context
 * @param {Compiler} compiler
 * @param {AddonName} addon
 * @param {Mlx | undefined} mlx
 * @returns {ObjectTask[]}
 */
export function objectTasks(context, compiler, addon, mlx) {
  const forMlx = mlx === undefined ? [] : mlxFlags(mlx);
  return addonSources(context.root, addon).flatMap(({ path, kind }) => {
    const variant = kind === 'face' ? addon : kind;
    const seesMlx = variant === 'mlx' || variant === 'ring';
    const own = kind === 'face' ? [...nodeFlags(context.root), ...faceFlags[addon]] : [];
    const flags = [...compileFlags(context.platform), ...own];
    return forEachSet(context, {
      source: path,
      object: join(context.build, 'objects', variant, `${path.slice('native/'.length)}.o`),
      flags: seesMlx ? [...flags, ...forMlx] : flags,
      environment: `${compiler.identity} ${seesMlx ? mlxIdentity(context) : ''}`,
    });
  });
}

/**
 * @param {Context} context
 * @param {Compiler} compiler
 * @param {AddonName} addon
 * @param {{ objects: readonly string[], mlx: Mlx | undefined }} parts
 */
async function link(context, compiler, addon, { objects, mlx }) {
  const target = addonPath(context, addon);
  const fresh = `${target}.${process.pid}.new.node`;
  mkdirSync(context.build, { recursive: true });
  removeUnfinished(target);
  rmSync(stampPath(context, addon), { force: true });
  const flags = linkFlags(context.platform, mlx && runtimePaths(context.platform, mlx));
  await callCompiler(context, compiler, [...objects, ...flags, '-o', fresh], basename(target));
  await tryToLoad(context, fresh, basename(target));
  renameSync(fresh, target);
}

/**
 * Where the addon finds MLX: beside itself, so that the folder can be moved, or where somebody
 * named it.
 * @param {string} platform
 * @param {Mlx} mlx
 */
export function runtimePaths(platform, mlx) {
  const beside = platform === 'darwin' ? '@loader_path/mlx/lib' : '$ORIGIN/mlx/lib';
  return { lib: mlx.lib, runtimePath: mlx.wheel === undefined ? mlx.lib : beside };
}

/**
 * Loads an addon in a process of its own, with every symbol resolved at once.
 * @param {Context} context
 * @param {string} path
 * @param {string} name for the error
 */
async function tryToLoad(context, path, name) {
  const script =
    'process.dlopen({ exports: {} }, process.argv[1], require("os").constants.dlopen.RTLD_NOW)';
  const finished = await run(process.execPath, ['-e', script, path], {
    env: context.env,
    signal: context.signal,
    timeoutMs: loadTimeoutMs,
  });
  if (finished.code === 0) return;
  const line = lastLines(finished, 20).find((text) => text.startsWith('Error: '));
  const reason = line ?? finished.signal ?? 'it failed';
  throw new SetupError(
    `${name} was built but cannot be loaded (${reason})`,
    'if it names a library, install that; otherwise remove build/ and try again',
  );
}

/**
 * @param {Context} context
 * @param {AddonName} addon
 */
function sourceKey(context, addon) {
  const { root, platform } = context;
  const needsMlx = addon !== 'cpu';
  return hashOf([
    hashOfFiles(root, nativeFiles(root)),
    ...(addon !== 'mlx' ? instructionSets(context).flatMap(({ flags }) => flags) : []),
    ...compileFlags(platform),
    ...nodeFlags(root),
    ...linkFlags(platform, undefined),
    needsMlx ? mlxIdentity(context) : '',
  ]);
}

/**
 * @param {Context} context
 * @param {AddonName} addon
 * @returns {Stamp | undefined}
 */
function readStamp(context, addon) {
  const text = textIfThere(stampPath(context, addon));
  try {
    return text === undefined ? undefined : JSON.parse(text);
  } catch {
    return undefined;
  }
}

/**
 * @param {Pick<Context, 'build'>} context
 * @param {AddonName} addon
 */
function stampPath(context, addon) {
  return `${addonPath(context, addon)}.json`;
}

/** @param {string} path */
function sizeOf(path) {
  return statSync(path, { throwIfNoEntry: false })?.size;
}
