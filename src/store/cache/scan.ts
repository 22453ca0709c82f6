import type { Disk } from '../../ports/disk.ts';
import { catalogue } from '../catalogue.ts';
import { findCatalogueModel } from '../starter/pull-starter.ts';
import type { ModelFolders, ModelOnDisk } from './folders.ts';
import { listHubModels } from './hub-models.ts';
import { listLocalModels } from './local-models.ts';

/**
 * Every model on this disk, whole or in part: the catalogue's, those in the Hugging Face cache
 * (whoever fetched them), and local ones. Only names and sizes are looked at. Of two with the same
 * id the first counts.
 * Errors: the disk's.
 */
export async function scanModels(disk: Disk, folders: ModelFolders): Promise<ModelOnDisk[]> {
  const fromCatalogue = await Promise.all(
    catalogue.map((entry) => findCatalogueModel(disk, folders, entry)),
  );
  const models = [
    ...fromCatalogue.filter((model) => model !== null),
    ...(await listHubModels(disk, folders.hubCache)),
    ...(await listLocalModels(disk, folders)).map(({ model }) => model),
  ];
  const byId = new Map<string, ModelOnDisk>();
  for (const model of models) {
    if (!byId.has(model.id)) byId.set(model.id, model);
  }
  return [...byId.values()];
}
