import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { diskFullError, InterruptedError, saysDiskFull, SetupError } from './error.mjs';
import { findProgram, lastLines, run, words } from './process.mjs';

/** @typedef {import('./context.mjs').Context} Context */

/**
 * A C++ compiler that answers.
 *
 * @typedef {object} Compiler
 * @property {string} command
 * @property {readonly string[]} args what comes before all others (a wrapper's compiler, a target)
 * @property {string} identity the first line of its version
 */

const probeTimeoutMs = 30_000;
/** The slowest file takes 20 s here; a small board may be 20 times slower. */
const compileTimeoutMs = 15 * 60_000;

/**
 * The compiler of this machine, or undefined where there is none.
 * @param {Context} context
 * @returns {Promise<Compiler | undefined>}
 */
export async function findCompiler(context) {
  const chosen = words(context.env['CXX'] ?? '');
  const candidates = chosen.length > 0 ? [chosen] : [['c++'], ['g++'], ['clang++']];
  for (const [name = '', ...args] of candidates) {
    const command = findProgram(name, context.env);
    if (command === undefined) continue;
    const answer = await run(command, [...args, '--version'], {
      env: context.env,
      signal: context.signal,
      timeoutMs: probeTimeoutMs,
    });
    // On a Mac without the developer tools c++ exists, and fails.
    if (answer.code !== 0) continue;
    return { command, args, identity: answer.stdout.split('\n')[0] ?? '' };
  }
  return undefined;
}

/**
 * @param {Context} context
 * @returns {SetupError}
 */
export function noCompilerError(context) {
  const chosen = context.env['CXX'];
  if (chosen) {
    return new SetupError(`CXX names ${chosen}, which does not run`, 'mend or unset CXX');
  }
  const hint =
    context.platform === 'darwin'
      ? 'run `xcode-select --install`'
      : 'run `apt install g++` (Fedora: `dnf install gcc-c++`, Arch: `pacman -S gcc`)';
  return new SetupError('no C++ compiler was found', hint);
}

/**
 * What every file of native/ is compiled with. No fused multiply-add but where one is written, and
 * nothing that changes arithmetic: results must not depend on the compiler.
 * @param {string} platform
 */
export function compileFlags(platform) {
  return [
    ...words('-std=c++20 -O3 -fPIC -fvisibility=hidden -fvisibility-inlines-hidden'),
    ...words('-ffp-contract=off -fno-math-errno -pthread -Wall -Wextra -Inative'),
    ...(platform === 'darwin'
      ? ['-mmacosx-version-min=14.0', '-D_METAL_', '-DACCELERATE_NEW_LAPACK']
      : []),
  ];
}

/**
 * The flags for files that speak to Node.
 * @param {string} root of the checkout or package, from which the packages are found
 */
export function nodeFlags(root) {
  const require = createRequire(join(root, 'package.json'));
  /** @param {string} name */
  const folder = (name) => dirname(require.resolve(`${name}/package.json`));
  return [
    '-DNAPI_VERSION=9',
    '-DNODE_ADDON_API_CPP_EXCEPTIONS',
    '-isystem',
    folder('node-addon-api'),
    '-isystem',
    join(folder('node-api-headers'), 'include'),
  ];
}

/**
 * How an addon is linked; Node's own symbols are found when it is loaded.
 * @param {string} platform
 * @param {{ lib: string, runtimePath: string } | undefined} mlx
 */
export function linkFlags(platform, mlx) {
  return [
    '-shared',
    '-pthread',
    ...(platform === 'darwin'
      ? ['-mmacosx-version-min=14.0', '-undefined', 'dynamic_lookup']
      : ['-Wl,-z,now']),
    ...(mlx === undefined ? [] : libraryFlags(mlx.lib, mlx.runtimePath)),
  ];
}

/**
 * How anything is linked with MLX.
 * @param {string} lib where the library is now
 * @param {string} runtimePath where it is when it is needed
 */
export function libraryFlags(lib, runtimePath) {
  return [`-L${lib}`, '-lmlx', `-Wl,-rpath,${runtimePath}`];
}

/**
 * The flags for files that see the headers of MLX.
 * @param {{ include: string }} mlx
 */
export function mlxFlags({ include }) {
  return ['-DCIDERY_WITH_MLX=1', '-isystem', include];
}

/**
 * Calls the compiler, and words its failure.
 * @param {Context} context
 * @param {Compiler} compiler
 * @param {readonly string[]} args
 * @param {string} what is being made, for the error
 */
export async function callCompiler(context, compiler, args, what) {
  const finished = await run(compiler.command, [...compiler.args, ...args], {
    cwd: context.root,
    env: { ...context.env, LC_ALL: 'C', TMPDIR: temporaryFolder(context) },
    signal: context.signal,
    timeoutMs: compileTimeoutMs,
  });
  if (finished.code === 0) {
    if (finished.stderr !== '') context.progress.line(`${what}:\n${finished.stderr.trimEnd()}`);
    return;
  }
  if (context.signal.aborted) throw new InterruptedError();
  const output = finished.stdout + finished.stderr;
  if (saysDiskFull(output)) throw diskFullError();
  if (finished.signal !== null || /\b(?:Killed|out of memory)\b/u.test(output)) {
    throw new SetupError(`the compiler was ended while making ${what}`, 'free some memory');
  }
  await checkLanguage(context, compiler);
  for (const line of lastLines(finished, 40)) context.progress.line(`  ${line}`);
  throw new SetupError(`${what} does not compile`, 'mend what stands above');
}

/**
 * Throws where the compiler cannot compile what the standard library of C++20 offers: the usual
 * reason why a sound checkout does not compile on somebody's machine.
 * @param {Context} context
 * @param {Compiler} compiler
 */
async function checkLanguage(context, compiler) {
  const source = join(temporaryFolder(context), 'probe.cpp');
  const text = '#include <atomic>\n#include <bit>\n#include <span>\n';
  writeFileSync(
    source,
    `${text}int f(std::atomic<int>& a) { a.wait(std::bit_width(1u)); return 0; }`,
  );
  // Compiled, since there are compilers that link for all that -fsyntax-only says.
  const object = `${source}.o`;
  const args = [...compiler.args, '-std=c++20', '-c', source, '-o', object];
  const { env, signal } = context;
  const probe = await run(compiler.command, args, { env, signal, timeoutMs: probeTimeoutMs });
  for (const path of [source, object]) rmSync(path, { force: true });
  if (probe.code === 0) return;
  throw new SetupError(
    `this compiler does not know C++20, or has no C++ headers (${compiler.identity})`,
    context.platform === 'darwin'
      ? 'run `xcode-select --install`, or update the developer tools'
      : 'run `apt install g++` (version 11 or newer), or name another compiler in CXX',
  );
}

/**
 * The compiler's own temporary files stay on the disk that the result goes to.
 * @param {Pick<Context, 'temporary'>} context
 */
function temporaryFolder({ temporary }) {
  mkdirSync(temporary, { recursive: true });
  return temporary;
}
