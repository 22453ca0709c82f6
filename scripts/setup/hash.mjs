import { createHash } from 'node:crypto';
import { createReadStream, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';

/**
 * The sha256 of some values, in hex. Each part is preceded by its length, so that no two lists of
 * parts are taken for one another.
 * @param {readonly (string | Uint8Array)[]} parts
 */
export function hashOf(parts) {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(`${part.length}:`).update(part);
  return hash.digest('hex');
}

/**
 * The sha256 of a file's bytes, in hex.
 * @param {string} path
 */
export async function hashOfFile(path) {
  const hash = createHash('sha256');
  await pipeline(createReadStream(path), hash);
  return hash.digest('hex');
}

/**
 * The sha256 of the names and contents of files, in hex; a missing file counts as such.
 * @param {string} root
 * @param {readonly string[]} paths relative to root
 */
export function hashOfFiles(root, paths) {
  return hashOf(paths.flatMap((path) => [path, readIfThere(join(root, path)) ?? 'missing']));
}

/**
 * All files below a folder as sorted paths relative to `root`; none where there is no such folder.
 * @param {string} root
 * @param {string} folder relative to root
 * @returns {string[]}
 */
export function filesBelow(root, folder) {
  /** @type {import('node:fs').Dirent[]} */
  let entries;
  try {
    entries = readdirSync(join(root, folder), { withFileTypes: true });
  } catch (error) {
    if (isMissing(error)) return [];
    throw error;
  }
  return entries
    .flatMap((entry) => {
      const path = `${folder}/${entry.name}`;
      if (entry.isDirectory()) return filesBelow(root, path);
      return entry.isFile() ? [path] : [];
    })
    .sort();
}

/**
 * The bytes of a file, or undefined where there is none.
 * @param {string} path
 */
export function readIfThere(path) {
  try {
    return readFileSync(path);
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

/**
 * The text of a file, or undefined where there is none.
 * @param {string} path
 */
export function textIfThere(path) {
  return readIfThere(path)?.toString('utf8');
}

/**
 * Whether an error says that a file or folder does not exist.
 * @param {unknown} error
 */
export function isMissing(error) {
  return (
    error instanceof Error &&
    'code' in error &&
    (error.code === 'ENOENT' || error.code === 'ENOTDIR')
  );
}
