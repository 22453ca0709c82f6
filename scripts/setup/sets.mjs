import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { SetupError } from './error.mjs';
import { findProgram, lastLines, run } from './process.mjs';

/** @typedef {import('./context.mjs').Context} Context */
/** @typedef {import('./objects.mjs').ObjectTask} ObjectTask */

const listTimeoutMs = 60_000;

/** The source that is compiled once for each instruction set. */
export const setSource = 'native/cpu/target.cpp';

/** @typedef {Pick<Context, 'root' | 'platform' | 'arch'>} Machine */

/**
 * The instruction sets that kernels are compiled for on a machine, best first, with the compiler's
 * flags for each. On macOS they are others where `darwinFlags` says so: clang for it names features
 * and not an architecture, and takes the dot product of every Mac for granted.
 * @param {Machine} machine
 * @returns {{ name: string, flags: readonly string[] }[]}
 */
export function instructionSets({ root, platform, arch }) {
  const path = join(root, 'native/cpu/sets.json');
  if (!existsSync(path)) return [];
  /** @type {Record<string, { arch: string, flags: string[], darwinFlags?: string[] }>} */
  const sets = JSON.parse(readFileSync(path, 'utf8'));
  return Object.entries(sets)
    .filter(([, set]) => set.arch === arch || set.arch === 'any')
    .map(([name, { flags, darwinFlags = flags }]) => ({
      name,
      flags: platform === 'darwin' ? darwinFlags : flags,
    }));
}

/**
 * The task of `setSource`, once for each instruction set; every other task as it is. Nothing but
 * these objects has a set's flags.
 * @param {Machine} machine
 * @param {ObjectTask} task
 * @returns {ObjectTask[]}
 */
export function forEachSet(machine, task) {
  if (task.source !== setSource) return [task];
  return instructionSets(machine).map(({ name, flags }) => ({
    ...task,
    object: task.object.replace(/\.cpp\.o$/u, `.${name}.o`),
    flags: [...task.flags, ...flags, '-fno-exceptions', '-fno-lto', `-DCIDERY_SET=${name}`],
  }));
}

/**
 * Sees that each object of an instruction set gives the linker its table of kernels and nothing
 * else. The linker keeps one copy of a function that several objects bring along, and from such an
 * object it would be one that many processors cannot run.
 * @param {Context} context
 * @param {readonly ObjectTask[]} tasks
 */
export async function checkSetObjects({ env, signal }, tasks) {
  const command = findProgram('nm', env);
  if (command === undefined) return;
  for (const { object } of tasks.filter(({ source }) => source === setSource)) {
    const listed = await run(command, ['-P', object], { env, signal, timeoutMs: listTimeoutMs });
    if (listed.code !== 0) {
      throw new SetupError(`nm cannot read ${object}`, lastLines(listed, 1).join(''));
    }
    const shared = sharedSymbols(listed.stdout);
    if (shared.length === 1 && /^[A-TX-Z] /u.test(shared[0] ?? '')) continue;
    throw new SetupError(
      `${object} gives the linker ${shared.length} symbols: ${shared.slice(0, 5).join(', ')}`,
      'keep what native/cpu/target.cpp includes in its namespaces, without the standard library',
    );
  }
}

/**
 * Symbols that an object gives to others, weak ones among them: `TYPE name`, of nm's POSIX output.
 * @param {string} listing
 */
function sharedSymbols(listing) {
  return listing
    .split('\n')
    .map((line) => line.split(' '))
    .filter(([name, type]) => name && type && /^[A-TV-Zuvwi]$/u.test(type))
    .map(([name, type]) => `${type} ${name}`);
}
