import { join } from 'node:path';
import { errorCode } from '../../base/error.ts';
import { modelId } from '../../base/ids.ts';
import type { Disk } from '../../ports/disk.ts';
import { partialSuffix } from '../hub/partial-file.ts';
import { formatRepository, parseRepository } from '../hub/repository.ts';
import type { ModelOnDisk } from './folders.ts';
import { inspectFolder } from './inspect-folder.ts';
import { isCommit, type RepositoryFolder, repositoryFolder, repositoryOfFolder } from './layout.ts';

const refMaxBytes = 256;

/** The commit that a branch or tag was at when it was fetched, or null. */
export async function readRef(
  disk: Disk,
  folder: RepositoryFolder,
  revision: string,
): Promise<string | null> {
  try {
    const text = (await disk.readText(join(folder.refs, revision), refMaxBytes)).trim();
    return isCommit(text) ? text : null;
  } catch (error) {
    const unusable = ['file_missing', 'file_too_large', 'file_not_regular'];
    if (unusable.includes(errorCode(error))) return null;
    throw error;
  }
}

/** Commits of which there is a snapshot. */
export async function listSnapshots(disk: Disk, folder: RepositoryFolder): Promise<string[]> {
  return (await disk.list(folder.snapshots)).filter(isCommit);
}

/** The commit that stands for a revision: what the ref says, else the only one there is. */
export async function commitOf(
  disk: Disk,
  folder: RepositoryFolder,
  revision: string,
): Promise<string | null> {
  if (isCommit(revision)) return revision;
  const commit = await readRef(disk, folder, revision);
  if (commit !== null) return commit;
  const snapshots = await listSnapshots(disk, folder);
  return revision === 'main' && snapshots.length === 1 ? (snapshots[0] ?? null) : null;
}

/** What came of files that have no name in a snapshot yet. */
async function unnamedPartial(disk: Disk, folder: RepositoryFolder): Promise<ModelOnDisk[]> {
  const names = await disk.list(folder.blobs);
  const partials = names.filter((name) => name.endsWith(partialSuffix));
  const facts = await Promise.all(partials.map((name) => disk.facts(join(folder.blobs, name))));
  if (partials.length === 0) return [];
  return [
    {
      id: modelId(folder.repository),
      origin: 'hub',
      kind: 'gguf',
      path: folder.path,
      weights: [],
      sizeBytes: facts.reduce((sum, entry) => sum + (entry?.sizeBytes ?? 0), 0),
      state: 'partial',
      revision: null,
    },
  ];
}

/** Models of one repository in the Hugging Face cache, whoever fetched them. */
export async function listRepositoryModels(
  disk: Disk,
  hubCache: string,
  repository: string,
): Promise<ModelOnDisk[]> {
  const folder = repositoryFolder(hubCache, repository);
  const main = await commitOf(disk, folder, 'main');
  const models: ModelOnDisk[] = [];
  for (const commit of await listSnapshots(disk, folder)) {
    const revision = commit === main ? 'main' : commit;
    for (const found of await inspectFolder(disk, join(folder.snapshots, commit))) {
      const { quantization } = found;
      models.push({
        id: modelId(formatRepository({ repository, revision, quantization })),
        origin: 'hub',
        kind: found.kind,
        path: found.path,
        weights: found.weights,
        sizeBytes: found.sizeBytes,
        state: found.missing.length === 0 ? 'ready' : 'partial',
        revision: commit,
      });
    }
  }
  return models.length > 0 ? models : await unnamedPartial(disk, folder);
}

/** All models in the Hugging Face cache; data sets and what has another name are passed over. */
export async function listHubModels(disk: Disk, hubCache: string): Promise<ModelOnDisk[]> {
  const models: ModelOnDisk[] = [];
  for (const name of await disk.list(hubCache)) {
    const repository = repositoryOfFolder(name);
    if (repository === null || parseRepository(repository) === null) continue;
    models.push(...(await listRepositoryModels(disk, hubCache, repository)));
  }
  return models;
}
