import { copyFileSync, existsSync, linkSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { statSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { SetupError } from './error.mjs';
import { filesBelow } from './hash.mjs';
import { mlxWheel } from './wheels.mjs';
import { wheelFolder } from './wheel-cache.mjs';

/** @typedef {import('./context.mjs').Context} Context */

/**
 * MLX as the compiler and the linker need it.
 *
 * @typedef {object} Mlx
 * @property {string} include folder of headers
 * @property {string} lib folder of the library
 * @property {string | undefined} wheel the unpacked wheel, whose libraries go beside the addon;
 *   undefined where a folder was named and is used where it lies
 */

/**
 * What tells one MLX from another, without fetching it.
 * @param {Context} context
 * @returns {string}
 */
export function mlxIdentity(context) {
  const folder = context.env['CIDERY_MLX'];
  if (!folder) return mlxWheel(context)?.sha256 ?? 'none';
  const stat = statSync(libraryPath(context, folder), { throwIfNoEntry: false });
  return `${resolve(folder)} ${stat?.size} ${stat?.mtimeMs}`;
}

/**
 * Finds or fetches MLX.
 * @param {Context} context
 * @returns {Promise<Mlx>}
 */
export async function findMlx(context) {
  const folder = context.env['CIDERY_MLX'];
  if (folder) return namedMlx(context, resolve(folder));
  const wheel = mlxWheel(context);
  if (wheel === undefined) {
    throw new SetupError(
      `there is no MLX for ${context.platform} ${context.release} on ${context.arch}`,
      'it needs Linux on x86-64 or arm64, or macOS 14 or newer on Apple silicon',
    );
  }
  if (context.platform === 'linux') checkLibc();
  const unpacked = await wheelFolder(context, wheel);
  return {
    include: join(unpacked, 'mlx/include'),
    lib: join(unpacked, 'mlx/lib'),
    wheel: unpacked,
  };
}

/**
 * Puts a wheel's libraries into a folder, in the relative places in which they find each other.
 * @param {string} wheel the unpacked wheel
 * @param {string} folder
 * @returns {[path: string, sizeBytes: number][]} what was put there
 */
export function placeLibraries(wheel, folder) {
  const paths = [...filesBelow(wheel, 'mlx/lib'), ...filesBelow(wheel, 'mlx_cpu.libs')].filter(
    (path) => !path.endsWith('.cmake'),
  );
  return paths.map((path) => {
    const target = join(folder, path);
    mkdirSync(dirname(target), { recursive: true });
    // Renamed into place: a process that runs goes on with the file that it has mapped.
    const fresh = `${target}.new`;
    rmSync(fresh, { force: true });
    linkOrCopy(join(wheel, path), fresh);
    renameSync(fresh, target);
    // Two names of one file already: then rename does nothing and leaves both.
    rmSync(fresh, { force: true });
    return [path, statSync(target).size];
  });
}

/**
 * @param {string} from
 * @param {string} to
 */
function linkOrCopy(from, to) {
  try {
    linkSync(from, to);
  } catch {
    // Another file system, or one without hard links.
    copyFileSync(from, to);
  }
}

/**
 * @param {Context} context
 * @param {string} folder
 * @returns {Mlx}
 */
function namedMlx(context, folder) {
  const needed = [join(folder, 'include/mlx/mlx.h'), libraryPath(context, folder)];
  const missing = needed.find((path) => !existsSync(path));
  if (missing !== undefined) {
    throw new SetupError(
      `CIDERY_MLX names a folder without MLX: ${missing} does not exist`,
      'name a folder that holds include/ and lib/, or unset CIDERY_MLX',
    );
  }
  return { include: join(folder, 'include'), lib: join(folder, 'lib'), wheel: undefined };
}

/**
 * @param {Context} context
 * @param {string} folder
 */
function libraryPath(context, folder) {
  return join(folder, 'lib', context.platform === 'darwin' ? 'libmlx.dylib' : 'libmlx.so');
}

/** The wheels for Linux are built against glibc 2.35. */
function checkLibc() {
  const version = libcVersion();
  const [major = 0, minor = 0] = (version ?? '0').split('.').map(Number);
  if (major > 2 || (major === 2 && minor >= 35)) return;
  throw new SetupError(
    `MLX needs glibc 2.35 and this system has ${version ?? 'none'}`,
    'use Debian 12, Ubuntu 22.04, Fedora 36 or newer, or name your own MLX in CIDERY_MLX',
  );
}

/** @returns {string | undefined} undefined where the C library is another one */
function libcVersion() {
  const report = process.report.getReport();
  const header = 'header' in report ? report.header : undefined;
  if (typeof header !== 'object' || header === null) return undefined;
  const version = 'glibcVersionRuntime' in header ? header.glibcVersionRuntime : undefined;
  return typeof version === 'string' ? version : undefined;
}
