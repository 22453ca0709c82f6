#!/usr/bin/env node
// Builds the native tests and fuzzers as plain programs and runs them: `*_test.cpp` and
// `fuzz_*.cpp` anywhere in native/, each with its own main, linked with everything that does not
// know Node, the cpu executor among it, and with what else lies in native/test. One whose name
// begins with `mlx` is linked with the mlx executor and MLX's groups, too. With
// `--sanitize` under the address and undefined behaviour sanitizers; with `--thread-sanitize` under
// the thread sanitizer, what starts threads without the executors. Names choose among the tests:
// `check-native.mjs kv pool --sanitize` runs those whose path has one of them in it.
import { rmSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { callCompiler, compileFlags, findCompiler, libraryFlags } from './setup/compiler.mjs';
import { mlxFlags, noCompilerError } from './setup/compiler.mjs';
import { explain, SetupError } from './setup/error.mjs';
import { withLock } from './setup/lock.mjs';
import { createContext } from './setup/main.mjs';
import { findMlx, mlxIdentity } from './setup/mlx.mjs';
import { compileObjects } from './setup/objects.mjs';
import { lastLines, run, words } from './setup/process.mjs';
import { forEachSet, setSource } from './setup/sets.mjs';
import { addonSources, nativeTestHelpers, nativeTests } from './setup/sources.mjs';

/** @typedef {import('./setup/compiler.mjs').Compiler} Compiler */
/** @typedef {import('./setup/context.mjs').Context} Context */
/** @typedef {import('./setup/mlx.mjs').Mlx} Mlx */

const root = dirname(dirname(fileURLToPath(import.meta.url)));
/** A fuzzer bounds itself; one that takes this long hangs. */
const testTimeoutMs = 5 * 60_000;
const sanitizers = words(
  '-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer -O1 -g',
);

const threadSanitizer = words('-fsanitize=thread -O1 -g');
/** The others compute far more than they share. */
const threaded = /\/(?:group|pool)_\w*test\.cpp$/u;

/** Tests watch resident memory, so little of what is freed may be held back. */
const sanitizerOptions = 'detect_leaks=1:quarantine_size_mb=4:thread_local_quarantine_size_kb=64';

/** A rank that a test ends in its middle joins no threads. */
const threadSanitizerOptions = 'report_thread_leaks=0';

/** @typedef {{ folder: string, flags: readonly string[], tests: RegExp }} Mode */

const options = ['--sanitize', '--thread-sanitize'];

/**
 * @param {Context} context
 * @param {Mode} mode
 * @param {readonly string[]} names parts of the paths of the tests that are wanted; none: all
 * @param {string} folder where objects and programs go
 */
async function check(context, { flags: extra, tests: wanted }, names, folder) {
  const compiler = await findCompiler(context);
  if (compiler === undefined) throw noCompilerError(context);
  const tests = testsNamed(
    names,
    nativeTests(root).filter((test) => wanted.test(test)),
  );
  const mlx = tests.some(needsMlx) ? await findMlx(context) : undefined;
  let [passed, failed] = [0, 0];
  for (const test of tests) {
    try {
      const program = await build({ context, compiler, extra, folder }, test, mlx);
      await runTest(context, program);
      process.stdout.write(`passed: ${test}\n`);
      passed++;
    } catch (error) {
      process.stdout.write(`FAILED: ${test}: ${explain(error)}\n`);
      failed++;
    }
  }
  return { passed, failed };
}

/**
 * @param {readonly string[]} names
 * @param {readonly string[]} tests
 */
function testsNamed(names, tests) {
  const unknown = names.find((name) => !tests.some((test) => test.includes(name)));
  if (unknown !== undefined) {
    throw new SetupError(`no test is named ${unknown}`, `choose of:\n${tests.join('\n')}`);
  }
  return tests.filter((test) => names.length === 0 || names.some((name) => test.includes(name)));
}

/**
 * @param {{ context: Context, compiler: Compiler, extra: readonly string[], folder: string }} tools
 * @param {string} test its source
 * @param {Mlx | undefined} mlx
 * @returns {Promise<string>} the path of the program
 */
async function build({ context, compiler, extra, folder }, test, mlx) {
  const withMlx = needsMlx(test) ? mlx : undefined;
  const plain = compileFlags(context.platform);
  const common = [...plain, ...extra];
  const forMlx = withMlx === undefined ? [] : mlxFlags(withMlx);
  /**
   * The kernels are compiled without sanitizers: with them one set takes the compiler minutes.
   * @param {string} source
   */
  const flagsOf = (source) => (source === setSource ? plain : common);
  /** @param {string} source */
  const task = (source) => ({
    source,
    object: join(folder, `${source.slice('native/'.length)}.o`),
    flags:
      /^native\/(?:mlx|ring)\//u.test(source) || needsMlx(source)
        ? [...common, ...forMlx]
        : flagsOf(source),
    environment: `${compiler.identity} ${mlxIdentity(context)}`,
  });
  const sources = addonSources(root, withMlx === undefined ? 'cpu' : 'ring')
    .filter(({ kind }) => kind !== 'face')
    .map(({ path }) => path);
  const tasks = [...sources, ...nativeTestHelpers(root), test]
    .map(task)
    .flatMap((one) => forEachSet(context, one));
  await compileObjects(context, compiler, tasks);
  const program = task(test).object.replace(/\.cpp\.o$/u, '');
  const objects = tasks.map(({ object }) => object);
  const libraries = withMlx === undefined ? [] : libraryFlags(withMlx.lib, withMlx.lib);
  const args = [...objects, ...extra, ...libraries, '-pthread', '-o', program];
  await callCompiler(context, compiler, args, test);
  return program;
}

/** @param {string} source of a test */
function needsMlx(source) {
  return basename(source).startsWith('mlx');
}

/**
 * @param {Context} context
 * @param {string} program
 */
async function runTest(context, program) {
  const finished = await run(program, [], {
    cwd: root,
    env: { ...context.env, ASAN_OPTIONS: sanitizerOptions, TSAN_OPTIONS: threadSanitizerOptions },
    signal: context.signal,
    timeoutMs: testTimeoutMs,
  });
  if (finished.code === 0) return;
  const how = finished.signal === null ? `exit status ${finished.code}` : finished.signal;
  throw new Error(`${basename(program)}: ${how}\n${lastLines(finished, 60).join('\n')}`);
}

/**
 * @param {readonly string[]} args
 * @returns {Mode}
 */
function modeOf(args) {
  if (args.includes('--thread-sanitize')) {
    return { folder: 'native-threads', flags: threadSanitizer, tests: threaded };
  }
  if (args.includes('--sanitize')) {
    return { folder: 'native-sanitized', flags: sanitizers, tests: /./u };
  }
  return { folder: 'native-tests', flags: [], tests: /./u };
}

const controller = new AbortController();
process.once('SIGINT', () => controller.abort());
process.once('SIGTERM', () => controller.abort());
const args = process.argv.slice(2);
const unknown = args.find((arg) => arg.startsWith('-') && !options.includes(arg));
if (unknown !== undefined) {
  process.stderr.write(
    `unknown: ${unknown}\nusage: check-native.mjs [NAME …] [${options.join('] [')}]\n`,
  );
  process.exit(2);
}
const mode = modeOf(args);
const names = args.filter((arg) => !arg.startsWith('-'));
const setUp = createContext({ root, signal: controller.signal });
const folder = join(setUp.build, mode.folder);
// Beside those of a set-up, which may run at the same time and begins with an empty folder.
const context = { ...setUp, temporary: join(folder, 'tmp') };
const lock = {
  signal: controller.signal,
  onWait: (/** @type {string} */ holder) =>
    process.stderr.write(`waiting for another check (${holder})\n`),
};
try {
  // One at a time: they would link and run the same programs.
  const { passed, failed } = await withLock(`${folder}.lock`, lock, async () => {
    rmSync(context.temporary, { recursive: true, force: true });
    return check(context, mode, names, folder);
  });
  process.stdout.write(`${passed} passed, ${failed} failed\n`);
  process.exitCode = failed === 0 ? 0 : 1;
} catch (error) {
  process.stderr.write(`${explain(error)}\n0 passed, 1 failed\n`);
  process.exitCode = 1;
}
