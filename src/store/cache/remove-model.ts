import { basename, dirname, join } from 'node:path';
import { CideryError } from '../../base/error.ts';
import type { Disk } from '../../ports/disk.ts';
import { catalogueEntry } from '../catalogue.ts';
import { findCatalogueModel, removeCatalogueModel } from '../starter/pull-starter.ts';
import type { ModelFolders, ModelOnDisk } from './folders.ts';
import { listRepositoryModels, listSnapshots, readRef } from './hub-models.ts';
import { filesBelow } from './inspect-folder.ts';
import { type RepositoryFolder, repositoryFolder } from './layout.ts';
import { listLocalModels } from './local-models.ts';
import { formatRepository, parseRepository, type RepositoryReference } from '../hub/repository.ts';

/** What a removal did. */
export interface Removal {
  /** Bytes of weights that are gone; 0 for a model that only was forgotten. */
  readonly freedBytes: number;
  /** True when the files are their user's own: they stay, and only the list has changed. */
  readonly keptFiles: boolean;
}

/**
 * Blobs that a snapshot's files lead to, by name; only what really lies in this repository's
 * `blobs`.
 */
async function blobsOf(
  disk: Disk,
  folder: RepositoryFolder,
  paths: string[],
): Promise<Set<string>> {
  const blobs = await disk.realPath(folder.blobs).catch(() => null);
  const names = new Set<string>();
  for (const path of paths) {
    const real = await disk.realPath(path);
    if (dirname(real) === blobs) names.add(basename(real));
  }
  return names;
}

async function filesOfSnapshot(
  disk: Disk,
  folder: RepositoryFolder,
  commit: string,
): Promise<string[]> {
  const snapshot = join(folder.snapshots, commit);
  return [...(await filesBelow(disk, snapshot)).keys()].map((path) => join(snapshot, path));
}

/** Branches and tags that are at a commit, as paths below `refs`. */
async function refsAt(disk: Disk, folder: RepositoryFolder, commit: string): Promise<string[]> {
  const refs = [...(await filesBelow(disk, folder.refs)).keys()];
  const commits = await Promise.all(refs.map((ref) => readRef(disk, folder, ref)));
  return refs.filter((_ref, index) => commits[index] === commit);
}

/**
 * Deletes the blobs that the given files led to and that no other file of the repository leads to.
 */
async function freeBlobs(
  disk: Disk,
  folder: RepositoryFolder,
  candidates: ReadonlySet<string>,
): Promise<void> {
  const rest: string[] = [];
  for (const commit of await listSnapshots(disk, folder)) {
    rest.push(...(await filesOfSnapshot(disk, folder, commit)));
  }
  const used = await blobsOf(disk, folder, rest);
  for (const name of candidates) {
    if (!used.has(name)) await disk.remove(join(folder.blobs, name));
  }
}

async function removeHubModel(
  disk: Disk,
  folders: ModelFolders,
  model: ModelOnDisk,
): Promise<void> {
  const { repository = '' } = parseRepository(model.id) ?? {};
  const folder = repositoryFolder(folders.hubCache, repository);
  const { revision } = model;
  if (revision !== null) {
    const all = await filesOfSnapshot(disk, folder, revision);
    // One GGUF file of several goes alone; the last model of a snapshot takes the snapshot with it.
    const others = (await listRepositoryModels(disk, folders.hubCache, repository)).filter(
      (other) => other.revision === revision && other.id !== model.id,
    );
    const gone = others.length === 0 ? all : [...model.weights];
    const candidates = await blobsOf(disk, folder, gone);
    if (others.length === 0) {
      for (const ref of await refsAt(disk, folder, revision)) {
        await disk.remove(join(folder.refs, ref));
      }
      await disk.remove(join(folder.snapshots, revision));
    } else {
      for (const path of gone) await disk.remove(path);
    }
    await freeBlobs(disk, folder, candidates);
  }
  if ((await listSnapshots(disk, folder)).length > 0) return;
  await disk.remove(folder.path);
  await disk.remove(folder.locks);
}

function notOurs(id: string): CideryError {
  return new CideryError('model_not_found', `there is no model ${JSON.stringify(id)} to delete`, {
    hint: 'see `cidery models` for the ids; a folder or file is deleted by who put it there',
  });
}

async function removeLocal(disk: Disk, folders: ModelFolders, id: string): Promise<Removal> {
  const local = await listLocalModels(disk, folders);
  const match = local.find(({ model }) => model.id === id);
  if (match === undefined) throw notOurs(id);
  const { entry, model } = match;
  // A link goes; what it leads to is its user's.
  const isOwn =
    (await disk.realPath(entry)) === join(await disk.realPath(dirname(entry)), basename(entry));
  await disk.remove(entry);
  return { freedBytes: isOwn ? model.sizeBytes : 0, keptFiles: !isOwn };
}

/**
 * Deletes a model by its id, as the list shows it. From the Hugging Face cache goes the snapshot,
 * with the blobs that nothing else uses; a model that lies where its user put it is only forgotten.
 * The caller makes sure that nothing runs on it.
 * Errors: `model_not_found` (a path too: paths are never deleted), the disk's.
 */
export async function removeModel(disk: Disk, folders: ModelFolders, id: string): Promise<Removal> {
  const entry = catalogueEntry(id);
  if (entry !== undefined) {
    const model = await findCatalogueModel(disk, folders, entry);
    if (model === null) throw notOurs(id);
    await removeCatalogueModel(disk, folders, entry);
    return { freedBytes: model.sizeBytes, keptFiles: false };
  }
  if (id.startsWith('local/')) return removeLocal(disk, folders, id);
  const reference = parseRepository(id);
  if (reference === null) throw notOurs(id);
  const { repository, quantization } = reference;
  const label = quantization?.toUpperCase() ?? null;
  const wanted = formatRepository({ ...reference, quantization: label });
  const models = await listRepositoryModels(disk, folders.hubCache, repository);
  const model = models.find((candidate) => candidate.id === wanted) ?? onlyOne(models, reference);
  if (model === undefined) throw notOurs(id);
  await removeHubModel(disk, folders, model);
  return { freedBytes: model.sizeBytes, keptFiles: false };
}

/** `org/name` of a repository with one GGUF file is that file; with several it would be a guess. */
function onlyOne(
  models: readonly ModelOnDisk[],
  reference: RepositoryReference,
): ModelOnDisk | undefined {
  const isPlain = reference.quantization === null && reference.revision === 'main';
  return isPlain && models.length === 1 ? models[0] : undefined;
}
