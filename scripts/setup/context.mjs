import { accessSync, constants, existsSync } from 'node:fs';
import { homedir, release } from 'node:os';
import { join, resolve } from 'node:path';
import { hashOf } from './hash.mjs';

/**
 * What every step of the set-up is given.
 *
 * @typedef {object} Context
 * @property {string} root the checkout, or the installed package
 * @property {boolean} checkout false in an installed package, which brings dist/ and its packages
 * @property {string} cache what is kept between checkouts (`CIDERY_CACHE`)
 * @property {string} build where this machine's addons go
 * @property {string} temporary where compilers put files of their own; of one process at a time
 * @property {NodeJS.ProcessEnv} env
 * @property {string} platform as process.platform
 * @property {string} arch as process.arch
 * @property {string} release as os.release()
 * @property {boolean} forTests
 * @property {AbortSignal} signal
 * @property {import('./progress.mjs').Progress} progress
 */

/**
 * @typedef {object} Machine
 * @property {NodeJS.ProcessEnv} env
 * @property {string} platform
 * @property {string} arch
 * @property {string} release
 */

/** @returns {Machine} the one that this process runs on */
export function thisMachine() {
  return { env: process.env, platform: process.platform, arch: process.arch, release: release() };
}

/**
 * Whether a folder holds the sources of everything, and not an installed package.
 * @param {string} root
 */
export function isCheckout(root) {
  return existsSync(join(root, 'package-lock.json')) && existsSync(join(root, 'src'));
}

/**
 * The folder for what is kept between checkouts.
 * @param {NodeJS.ProcessEnv} env
 */
export function cacheFolder(env) {
  if (env['CIDERY_CACHE']) return resolve(env['CIDERY_CACHE']);
  return join(env['XDG_CACHE_HOME'] || join(env['HOME'] || homedir(), '.cache'), 'cidery');
}

/**
 * The folder of a machine's addons: below the checkout or package, or in the cache where that
 * cannot be written (a package installed for all users). The launcher hands it to the program in
 * CIDERY_ADDONS where it is not the usual one.
 * @param {string} root
 * @param {Pick<Machine, 'env' | 'platform' | 'arch'>} machine
 */
export function buildFolder(root, { env, platform, arch }) {
  const usual = usualBuildFolder(root, { platform, arch });
  if (existsSync(join(usual, fingerprintName)) || isWritable(root)) return usual;
  const name = hashOf([resolve(root)]).slice(0, 16);
  return join(cacheFolder(env), 'build', name, `${platform}-${arch}`);
}

/**
 * The addons that a machine needs: `cpu` everywhere; `mlx` where there is a GPU that it drives,
 * where it is asked for, and for tests, as the oracle of `cpu`; `ring` for tests, as the oracle of
 * our group.
 * @param {Pick<Machine, 'env' | 'platform' | 'arch'>} machine
 * @param {boolean} forTests
 * @returns {import('./sources.mjs').AddonName[]}
 */
export function neededAddons({ env, platform, arch }, forTests) {
  const hasGpu = platform === 'darwin' && arch === 'arm64';
  const isAsked = env['CIDERY_EXECUTOR'] === 'mlx';
  if (forTests) return ['cpu', 'mlx', 'ring'];
  return hasGpu || isAsked ? ['cpu', 'mlx'] : ['cpu'];
}

/** The file that tells a launcher that a build folder is complete, and of what it was made. */
export const fingerprintName = 'fingerprint';

/**
 * @param {string} root
 * @param {Pick<Machine, 'platform' | 'arch'>} machine
 * @public bin/cidery calls it
 */
export function usualBuildFolder(root, { platform, arch }) {
  return join(root, 'build', `${platform}-${arch}`);
}

/** @param {string} folder */
function isWritable(folder) {
  try {
    accessSync(folder, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}
