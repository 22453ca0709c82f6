#!/usr/bin/env node
// Compiles the addons for macOS on arm64 and links them against the official library: a check
// without a Mac that nothing is missing. It runs nothing.
import { chmodSync, mkdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { objectTasks, runtimePaths } from './setup/addons.mjs';
import { callCompiler, linkFlags } from './setup/compiler.mjs';
import { cacheFolder } from './setup/context.mjs';
import { explain } from './setup/error.mjs';
import { neededSymbols } from './setup/mach-o.mjs';
import { createContext } from './setup/main.mjs';
import { compileObjects } from './setup/objects.mjs';
import { during } from './setup/progress.mjs';
import { wheelFolder } from './setup/wheel-cache.mjs';
import { mlxWheels, zigWheels } from './setup/wheels.mjs';

/** @typedef {import('./setup/context.mjs').Context} Context */
/** @typedef {import('./setup/compiler.mjs').Compiler} Compiler */

const root = dirname(dirname(fileURLToPath(import.meta.url)));
/** What Node itself gives an addon that it loads. */
const nodeSymbol = /^_(?:napi_|node_api_)/u;

/**
 * @param {Context} context
 * @returns {Promise<Compiler>}
 */
async function zig(context) {
  const wheel = process.arch === 'arm64' ? zigWheels.arm64 : zigWheels.x64;
  const command = join(await wheelFolder(context, wheel), 'ziglang/zig');
  // The wheel does not mark it: its own installer does.
  chmodSync(command, 0o755);
  const args = ['c++', '-target', 'aarch64-macos.14.0'];
  return { command, args, identity: `zig ${wheel.version}` };
}

/**
 * @param {Context} context
 * @param {Compiler} compiler
 * @param {import('./setup/sources.mjs').AddonName} addon
 * @param {import('./setup/mlx.mjs').Mlx | undefined} mlx
 * @returns {Promise<string>} what was found, for people
 */
async function checkAddon(context, compiler, addon, mlx) {
  const tasks = objectTasks(context, compiler, addon, mlx);
  const target = join(context.build, `cidery_${addon}.node`);
  const flags = linkFlags('darwin', mlx && runtimePaths('darwin', mlx));
  await during(context.progress, `cross-compiling the ${addon} addon for macOS`, async () => {
    await compileObjects(context, compiler, tasks);
    const objects = tasks.map(({ object }) => object);
    await callCompiler(context, compiler, [...objects, ...flags, '-o', target], target);
  });
  const needed = neededSymbols(readFileSync(target));
  const loose = needed.filter(
    ({ name, library }) => library === undefined && !nodeSymbol.test(name),
  );
  const names = loose.map(({ name }) => `\n  ${name}`).join('');
  if (names !== '') throw new Error(`symbols that nothing on a Mac provides:${names}`);
  const ofMlx = needed.filter(({ library }) => library?.includes('libmlx'));
  if (needed.length === 0 || (mlx !== undefined && ofMlx.length === 0)) {
    throw new Error(`${target} needs no symbol of Node or MLX: this check sees nothing`);
  }
  return `cidery_${addon}.node for macOS: ${needed.length} symbols, ${ofMlx.length} of them of MLX`;
}

async function main() {
  const machine = { platform: 'darwin', arch: 'arm64', release: '25.2.0' };
  const controller = new AbortController();
  process.once('SIGINT', () => controller.abort());
  process.once('SIGTERM', () => controller.abort());
  const zigCache = join(cacheFolder(process.env), 'zig');
  const env = { ...process.env, ZIG_GLOBAL_CACHE_DIR: zigCache, ZIG_LOCAL_CACHE_DIR: zigCache };
  const context = createContext({ root, signal: controller.signal, machine: { ...machine, env } });
  mkdirSync(context.build, { recursive: true });
  const compiler = await zig(context);
  const unpacked = await wheelFolder(context, mlxWheels.macos26);
  const folder = join(unpacked, 'mlx');
  const mlx = { include: join(folder, 'include'), lib: join(folder, 'lib'), wheel: unpacked };
  process.stdout.write(`${await checkAddon(context, compiler, 'cpu', undefined)}\n`);
  process.stdout.write(`${await checkAddon(context, compiler, 'mlx', mlx)}\n`);
  process.stdout.write(`${await checkAddon(context, compiler, 'ring', mlx)}\n`);
}

let failed = 0;
try {
  await main();
} catch (error) {
  process.stderr.write(`check:darwin failed: ${explain(error)}\n`);
  failed = 1;
}
process.stdout.write(`${1 - failed} passed, ${failed} failed\n`);
process.exitCode = failed;
