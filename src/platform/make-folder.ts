import { mkdir, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { errnoOf } from './disk-error.ts';

/**
 * Makes a folder and those above it; one that is there is no error. Node's own `recursive` tries
 * for ever where a parent exists and still nothing can be made in it (Linux says ENOENT for /proc).
 */
export async function makeFolder(path: string, mode = 0o777): Promise<void> {
  try {
    await mkdir(path, { mode });
  } catch (error) {
    const parent = dirname(path);
    if (errnoOf(error) === 'ENOENT' && parent !== path) {
      await makeFolder(parent, mode);
      await mkdir(path, { mode }).catch((again: unknown) => throwUnlessFolder(path, again));
    } else await throwUnlessFolder(path, error);
  }
}

/** Another process may have made it meanwhile. */
async function throwUnlessFolder(path: string, error: unknown): Promise<void> {
  const there = await stat(path).then(
    (facts) => facts.isDirectory(),
    () => false,
  );
  if (!there) throw error;
}
