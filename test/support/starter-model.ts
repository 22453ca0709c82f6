import { mkdir } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { cacheFolder } from '../../scripts/setup/context.mjs';
import { realLibrary } from '../../src/node/real-library.ts';
import { builtManifestWorker } from './real-node.ts';

/** The catalogue's name of the starter model. */
export const starterModel = 'smollm2:135m';

/**
 * A CIDERY_HOME that all tests of this machine share and that holds models of the catalogue, the
 * starter if no other is named. The first test to ask fetches the model as a user would, others
 * wait for it; afterwards it is there. Nothing else is written to it: a daemon gets a home of its
 * own that links to the models.
 */
export async function starterHome(name = starterModel): Promise<string> {
  const home = join(cacheFolder(process.env), 'test-home');
  await mkdir(home, { recursive: true });
  const never = new AbortController().signal;
  await realLibrary(home, process.env, homedir(), builtManifestWorker).pull(name, () => {}, never);
  return home;
}
