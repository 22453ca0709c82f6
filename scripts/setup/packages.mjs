import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { diskFullError, saysDiskFull, SetupError } from './error.mjs';
import { hashOf, readIfThere, textIfThere } from './hash.mjs';
import { findProgram, lastLines, run } from './process.mjs';
import { during } from './progress.mjs';

/** @typedef {import('./context.mjs').Context} Context */
/** @typedef {{ version?: string, optional?: boolean, link?: boolean }} LockEntry */

const stampPath = 'node_modules/.cidery-lock-hash';
/** npm itself gives up on a request after 5 minutes; a slow line may take longer for them all. */
const installTimeoutMs = 30 * 60_000;

/**
 * Whether node_modules is what the lockfile says.
 * @param {Context} context
 */
export function packagesAreInstalled({ root }) {
  const lock = readIfThere(join(root, 'package-lock.json'));
  if (lock === undefined) return true;
  const stamped = textIfThere(join(root, stampPath)) === hashOf([lock]);
  return stamped && missingPackages(root, lock.toString('utf8')).length === 0;
}

/**
 * Installs the npm packages from the lockfile, those for tests and of this platform, too.
 * @param {Context} context
 */
export async function installPackages(context) {
  const { root } = context;
  const lock = readIfThere(join(root, 'package-lock.json'));
  if (lock === undefined) return;
  // Somebody ran npm by hand; there is no reason to take it all down and up again.
  if (!installedMatches(root, lock.toString('utf8'))) {
    await during(context.progress, 'installing npm packages', () => npmCi(context));
    const missing = missingPackages(root, lock.toString('utf8'));
    if (missing.length > 0) {
      throw new SetupError(
        `npm did not install ${missing.slice(0, 3).join(', ')}`,
        'run `npm cache verify` and try again',
      );
    }
  }
  writeFileSync(join(root, stampPath), hashOf([lock]));
}

/** @param {Context} context */
async function npmCi(context) {
  const npm = findProgram('npm', context.env);
  if (npm === undefined) {
    throw new SetupError('npm was not found', 'install it (`apt install npm`) or mend PATH');
  }
  const args = ['ci', '--include=dev', '--include=optional', '--no-audit', '--no-fund'];
  const finished = await run(npm, [...args, '--no-progress', '--global=false'], {
    cwd: context.root,
    env: context.env,
    signal: context.signal,
    timeoutMs: installTimeoutMs,
  });
  if (finished.code === 0) return;
  const output = finished.stdout + finished.stderr;
  if (saysDiskFull(output)) throw diskFullError();
  const offline = /ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ETIMEDOUT|ENETUNREACH|ENOTCACHED/u.test(output);
  for (const line of lastLines(finished, 15)) context.progress.line(`  ${line}`);
  throw new SetupError(
    offline ? 'npm could not reach its registry' : '`npm ci` failed',
    offline ? 'check the network connection and try again' : 'what npm said stands above',
  );
}

/**
 * Packages that must be there and are not. A package marked optional in the lockfile may be for
 * another platform.
 * @param {string} root
 * @param {string} lock
 */
function missingPackages(root, lock) {
  return Object.entries(lockEntries(lock))
    .filter(([path, entry]) => path !== '' && entry.optional !== true)
    .map(([path]) => path)
    .filter((path) => !existsSync(join(root, path, 'package.json')));
}

/**
 * Whether npm's own note of what it installed names the versions of the lockfile.
 * @param {string} root
 * @param {string} lock
 */
function installedMatches(root, lock) {
  const hidden = textIfThere(join(root, 'node_modules/.package-lock.json'));
  if (hidden === undefined || missingPackages(root, lock).length > 0) return false;
  const installed = lockEntries(hidden);
  const wanted = lockEntries(lock);
  const same = Object.entries(wanted).every(
    ([path, { version, optional }]) =>
      path === '' ||
      installed[path]?.version === version ||
      (optional === true && installed[path] === undefined && !existsSync(join(root, path))),
  );
  return same && Object.keys(installed).every((path) => wanted[path] !== undefined);
}

/**
 * @param {string} text of a lockfile
 * @returns {Record<string, LockEntry>} by path; none where the file is damaged
 */
function lockEntries(text) {
  try {
    const { packages } = JSON.parse(text);
    return typeof packages === 'object' && packages !== null ? packages : {};
  } catch {
    return {};
  }
}
