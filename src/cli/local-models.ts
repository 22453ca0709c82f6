import { errorCode } from '../base/error.ts';
import type { ModelLibrary, ModelOnDisk } from '../node/model-library.ts';
import { catalogueEntry } from '../store/catalogue.ts';
import { parseRepository } from '../store/hub/repository.ts';
import type { CommandContext } from './context.ts';
import { startProgress } from './progress.ts';

/** Fetches a model, or what is missing of it, with a bar. */
export async function pullModel(
  context: CommandContext,
  library: ModelLibrary,
  name: string,
): Promise<ModelOnDisk> {
  const { output, signal } = context;
  const bar = startProgress(`fetching ${name}`, output, process.stderr, () => performance.now());
  try {
    return await library.pull(
      name,
      ({ doneBytes, totalBytes, bytesPerS }) => bar.update(doneBytes, totalBytes, bytesPerS),
      signal,
    );
  } finally {
    bar.end();
  }
}

/**
 * The model that a name or path stands for, fetched first where it is not on disk and can be.
 *
 * @param fetchable what may be fetched without being asked for: the catalogue's models alone, or
 *   those of the hub as well
 */
export async function requireModel(
  context: CommandContext,
  library: ModelLibrary,
  reference: string,
  fetchable: 'catalogue' | 'all',
): Promise<ModelOnDisk> {
  try {
    return await library.admit(reference);
  } catch (error) {
    const missing = ['model_not_found', 'model_incomplete'].includes(errorCode(error));
    const known =
      catalogueEntry(reference) !== undefined ||
      (fetchable === 'all' && parseRepository(reference) !== null);
    if (!missing || !known) throw error;
    return pullModel(context, library, reference);
  }
}
