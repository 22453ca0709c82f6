import type { ModelManifest } from '../model/manifest.ts';
import type { Disk } from '../ports/disk.ts';
import type { ModelOnDisk } from './cache/folders.ts';
import { readFolderManifest } from './folder-manifest.ts';
import { readGgufManifest } from './gguf-manifest.ts';

/**
 * The manifest of a model on disk, from headers and small files alone.
 *
 * @param cacheFolder where tokenizers made from GGUF metadata are kept
 * @throws CideryError as `readFolderManifest` and `readGgufManifest`
 */
export async function readManifest(
  disk: Disk,
  model: Pick<ModelOnDisk, 'id' | 'kind' | 'path'>,
  cacheFolder: string,
): Promise<ModelManifest> {
  return model.kind === 'gguf'
    ? readGgufManifest(disk, model.path, model.id, cacheFolder)
    : readFolderManifest(disk, model.path, model.id);
}
