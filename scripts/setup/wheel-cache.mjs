import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { InterruptedError, SetupError } from './error.mjs';
import { hashOfFile, isMissing, textIfThere } from './hash.mjs';
import { downloadWheel } from './pip.mjs';
import { isAlive } from './process.mjs';
import { during } from './progress.mjs';
import { unpackZip, ZipError } from './zip.mjs';

/** @typedef {import('./context.mjs').Context} Context */
/** @typedef {import('./wheels.mjs').Wheel} Wheel */
/** @typedef {import('./zip.mjs').UnpackedFile} UnpackedFile */

/** Names every file of an unpacked wheel with its size and CRC; it lies in the wheel's folder. */
const manifestName = '.cidery-manifest.json';

/**
 * The folder of the unpacked wheel in the cache, fetched where it is missing or damaged. A wheel is
 * unpacked beside its place and then renamed, so that what stands there was once whole.
 * @param {Context} context
 * @param {Wheel} wheel
 * @returns {Promise<string>}
 */
export async function wheelFolder(context, wheel) {
  const wheels = join(context.cache, 'wheels');
  const folder = cachedWheelFolder(context, wheel);
  if (isIntact(folder)) return folder;
  if (exists(folder)) {
    context.progress.line(`the cached ${wheel.name} is damaged and is fetched again`);
  }
  mkdirSync(wheels, { recursive: true });
  removeLeftovers(wheels);
  const staging = join(wheels, `.staging-${process.pid}-${Date.now()}`);
  mkdirSync(staging);
  try {
    const text = `fetching ${wheel.name} ${wheel.version} (${wheel.platform})`;
    const path = await during(context.progress, text, () => downloadWheel(context, wheel, staging));
    await verify(path, wheel);
    const unpacked = await unpack(context, path, join(staging, 'unpacked'));
    // Another checkout's set-up may have been faster.
    if (isIntact(folder)) return folder;
    if (exists(folder)) renameSync(folder, join(staging, 'replaced'));
    renameSync(unpacked, folder);
    return folder;
  } finally {
    rmSync(staging, { recursive: true, force: true });
  }
}

/**
 * Where the wheel is unpacked once it is in the cache.
 * @param {Context} context
 * @param {Wheel} wheel
 */
export function cachedWheelFolder(context, wheel) {
  const name = `${wheel.name}-${wheel.version}-${wheel.platform}-${wheel.sha256.slice(0, 12)}`;
  return join(context.cache, 'wheels', name);
}

/**
 * @param {string} path
 * @param {Wheel} wheel
 */
async function verify(path, wheel) {
  const sha256 = await hashOfFile(path);
  if (sha256 === wheel.sha256) return;
  throw new SetupError(
    `the ${wheel.name} ${wheel.version} that pip fetched has the sha256 ${sha256}, ` +
      `not ${wheel.sha256}`,
    'something between here and the package index changes files; remove it (a proxy? a mirror?)',
  );
}

/**
 * @param {Context} context
 * @param {string} path
 * @param {string} folder is made
 */
async function unpack(context, path, folder) {
  mkdirSync(folder);
  try {
    const files = await unpackZip(path, folder, {
      signal: context.signal,
      onBytes: (done, total) => context.progress.bar(done, total, 'unpacking'),
    });
    writeFileSync(join(folder, manifestName), JSON.stringify(files));
    return folder;
  } catch (error) {
    if (context.signal.aborted) throw new InterruptedError();
    if (error instanceof ZipError) throw new SetupError(error.message, 'report this as a bug');
    throw error;
  } finally {
    context.progress.clear();
  }
}

/**
 * @param {string} folder
 * @returns {readonly UnpackedFile[] | undefined} undefined where there is none that can be read
 */
function readManifest(folder) {
  const text = textIfThere(join(folder, manifestName));
  if (text === undefined) return undefined;
  try {
    const files = JSON.parse(text);
    return Array.isArray(files) && files.length > 0 ? files : undefined;
  } catch {
    return undefined;
  }
}

/** @param {string} folder */
function isIntact(folder) {
  const manifest = readManifest(folder);
  return manifest !== undefined && hasContents(folder, manifest);
}

/**
 * Reads every file: a power cut leaves files of the right size and the wrong bytes.
 * @param {string} folder
 * @param {readonly UnpackedFile[]} files
 */
function hasContents(folder, files) {
  return files.every((file) => {
    try {
      const path = join(folder, file.path);
      return statSync(path).size === file.sizeBytes && crc32(readFileSync(path)) === file.crc;
    } catch (error) {
      if (isMissing(error)) return false;
      throw error;
    }
  });
}

/**
 * Removes what set-ups that were killed left in the cache.
 * @param {string} folder
 */
function removeLeftovers(folder) {
  for (const name of readdirSync(folder)) {
    const pid = Number(/^\.staging-(\d+)-/u.exec(name)?.[1] ?? Number.NaN);
    if (Number.isNaN(pid) || isAlive(pid)) continue;
    rmSync(join(folder, name), { recursive: true, force: true });
  }
}

/** @param {string} path */
function exists(path) {
  return statSync(path, { throwIfNoEntry: false }) !== undefined;
}
