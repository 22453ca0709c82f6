import { mkdirSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { callCompiler } from './compiler.mjs';
import { hashOf, readIfThere, textIfThere } from './hash.mjs';

/** @typedef {import('./context.mjs').Context} Context */
/** @typedef {import('./compiler.mjs').Compiler} Compiler */

/**
 * One object file to be made.
 *
 * @typedef {object} ObjectTask
 * @property {string} source relative to the root
 * @property {string} object where it goes
 * @property {readonly string[]} flags
 * @property {string} environment what else the result depends on: compiler, versions of headers
 */

/** Two compilers at once: each takes up to 1 GB where it reads the headers of MLX. */
const compilersAtOnce = 2;

/**
 * Compiles what has changed since it was last compiled, two files at a time.
 * @param {Context} context
 * @param {Compiler} compiler
 * @param {readonly ObjectTask[]} tasks
 * @returns {Promise<number>} how many were compiled
 */
export async function compileObjects(context, compiler, tasks) {
  const hashes = new Map();
  const stale = tasks.filter((task) => !isFresh(context, task, hashes));
  const queue = [...stale];
  /** @type {unknown[]} */
  const failures = [];
  let done = 0;
  const worker = async () => {
    for (let task = queue.shift(); task !== undefined; task = queue.shift()) {
      context.progress.bar(done, stale.length, task.source);
      try {
        await compileOne(context, compiler, task);
      } catch (error) {
        failures.push(error);
        queue.length = 0;
      }
      done++;
    }
  };
  await Promise.all(Array.from({ length: compilersAtOnce }, worker));
  context.progress.clear();
  if (failures.length > 0) throw failures[0];
  return stale.length;
}

/**
 * @param {Context} context
 * @param {Compiler} compiler
 * @param {ObjectTask} task
 */
async function compileOne(context, compiler, task) {
  const { source, object, flags } = task;
  // Of this process alone: the compiler of a set-up that was killed may still be at work.
  const fresh = `${object}.${process.pid}.new`;
  const dependencies = `${object}.${process.pid}.d`;
  mkdirSync(dirname(object), { recursive: true });
  removeUnfinished(object);
  rmSync(recordPath(object), { force: true });
  const start = Date.now();
  const args = [...flags, '-MMD', '-MF', dependencies, '-c', source, '-o', fresh];
  await callCompiler(context, compiler, args, source);
  renameSync(fresh, object);
  const files = parseDependencies(textIfThere(dependencies) ?? '');
  rmSync(dependencies, { force: true });
  // A file that was changed while the compiler ran: nobody knows which state of it was read.
  if (files.some((path) => statSync(join(context.root, path)).mtimeMs >= start)) return;
  const hash = hashOfAll(context.root, files, new Map());
  writeFileSync(recordPath(object), JSON.stringify({ key: keyOf(task), files, hash }));
}

/**
 * Removes what set-ups that were killed have left of a file to be made.
 * @param {string} path
 */
export function removeUnfinished(path) {
  const folder = dirname(path);
  for (const name of readdirSync(folder)) {
    const isOurs =
      name.startsWith(`${basename(path)}.`) && /\.\d+\.(?:new|d|new\.node)$/u.test(name);
    if (isOurs) rmSync(join(folder, name), { force: true });
  }
}

/**
 * Whether an object is what its sources and flags would give.
 * @param {Context} context
 * @param {ObjectTask} task
 * @param {Map<string, string>} hashes of files that were read already
 */
function isFresh({ root }, task, hashes) {
  if (statSync(task.object, { throwIfNoEntry: false }) === undefined) return false;
  const text = textIfThere(recordPath(task.object));
  if (text === undefined) return false;
  try {
    const { key, files, hash } = JSON.parse(text);
    return key === keyOf(task) && hash === hashOfAll(root, files, hashes);
  } catch {
    return false;
  }
}

/**
 * The hash of names and contents; each file is read once however many objects depend on it.
 * @param {string} root
 * @param {readonly string[]} paths
 * @param {Map<string, string>} hashes
 */
function hashOfAll(root, paths, hashes) {
  for (const path of paths) {
    if (!hashes.has(path)) hashes.set(path, hashOf([readIfThere(join(root, path)) ?? 'missing']));
  }
  return hashOf(paths.flatMap((path) => [path, hashes.get(path) ?? '']));
}

/** @param {ObjectTask} task */
function keyOf({ source, flags, environment }) {
  return hashOf([source, environment, ...flags]);
}

/** @param {string} object */
function recordPath(object) {
  return `${object}.json`;
}

/**
 * The files of the tree that a make rule names: system headers are left out by -MMD.
 * @param {string} rule
 */
export function parseDependencies(rule) {
  const [, list = ''] = rule.replace(/\\\r?\n/gu, ' ').split(/:\s/u);
  const words = list.match(/(?:\\.|[^\s\\])+/gu) ?? [];
  return [...new Set(words.map((word) => word.replace(/\\(.)/gu, '$1')))].sort();
}
