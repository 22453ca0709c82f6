import { mkdir } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { cacheFolder } from '../../scripts/setup/context.mjs';
import { realLibrary } from '../../src/node/real-library.ts';

/** The catalogue's name of the starter model. */
export const starterModel = 'smollm2:135m';

/**
 * A CIDERY_HOME that all tests of this machine share and that holds the starter model. The first
 * test to ask fetches it as a user would, others wait for it; afterwards it is there.
 */
export async function starterHome(): Promise<string> {
  const home = join(cacheFolder(process.env), 'test-home');
  await mkdir(home, { recursive: true });
  const never = new AbortController().signal;
  await realLibrary(home, process.env, homedir()).pull(starterModel, () => {}, never);
  return home;
}
