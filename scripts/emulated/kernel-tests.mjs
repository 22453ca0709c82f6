import { basename, join } from 'node:path';
import { callCompiler, compileFlags } from '../setup/compiler.mjs';
import { compileObjects } from '../setup/objects.mjs';
import { forEachSet } from '../setup/sets.mjs';
import { addonSources, nativeTestHelpers, nativeTests } from '../setup/sources.mjs';

/** @typedef {import('../setup/compiler.mjs').Compiler} Compiler */
/** @typedef {import('../setup/context.mjs').Context} Context */

/**
 * Builds the tests that compare the kernels of all instruction sets,
 * native/test/kernels_*_test.cpp, as programs that need no library of the system: an emulator has
 * none.
 * @param {Context} context of the machine they are for
 * @param {Compiler} compiler that makes code for it
 * @returns {Promise<string[]>} their paths
 */
export async function buildKernelTests(context, compiler) {
  const folder = join(context.build, 'static-tests');
  /** @param {string} source */
  const task = (source) => ({
    source,
    object: join(folder, `${source.slice('native/'.length)}.o`),
    flags: compileFlags(context.platform),
    environment: compiler.identity,
  });
  const sources = addonSources(context.root, 'cpu')
    .filter(({ kind }) => kind !== 'face')
    .map(({ path }) => path);
  const helpers = nativeTestHelpers(context.root).filter((path) => isOfKernels(path));
  const shared = [...sources, ...helpers].map(task).flatMap((one) => forEachSet(context, one));
  const tests = nativeTests(context.root).filter((path) => isOfKernels(path));
  await compileObjects(context, compiler, [...shared, ...tests.map(task)]);
  const objects = shared.map(({ object }) => object);
  return Promise.all(
    tests.map(async (test) => {
      const program = join(folder, basename(test, '.cpp'));
      const own = task(test).object;
      const args = ['-static', '-pthread', own, ...objects, '-o', program];
      await callCompiler(context, compiler, args, test);
      return program;
    }),
  );
}

/** @param {string} path */
function isOfKernels(path) {
  return basename(path).startsWith('kernels_');
}
