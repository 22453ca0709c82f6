import { dirname, join } from 'node:path';
import { CideryError } from '../../base/error.ts';
import { isCommit, linkTarget, type RepositoryFolder, repositoryFolder } from '../cache/layout.ts';
import { type OnPullEvent, PullProgress } from '../pull-progress.ts';
import { checkSpace } from '../check-space.ts';
import { defaultTuning, type HubAccess, type HubPorts, type HubTuning } from './access.ts';
import { type ChosenFiles, chooseFiles } from './choose-files.ts';
import { type BlobTask, fetchBlob, hasBlob } from './fetch-blob.ts';
import { fetchFileFacts, fetchListing, fileUrl, type HubFile, type Listing } from './listing.ts';
import { inParallel } from './parallel.ts';
import { partialBytes } from './partial-file.ts';
import type { RepositoryReference } from './repository.ts';
import { type HubSettings, readToken } from './settings.ts';

export interface HubPullOptions {
  readonly signal: AbortSignal;
  readonly onEvent: OnPullEvent;
  readonly tuning?: Partial<HubTuning>;
}

/** A model as a pull leaves it in the cache. */
export interface PulledModel {
  readonly repository: string;
  readonly commit: string;
  readonly kind: 'safetensors' | 'gguf';
  /** The snapshot's folder, or the (first) .gguf file in it. */
  readonly path: string;
  /** Which GGUF file of the repository it is; null for safetensors. */
  readonly quantization: string | null;
  readonly sizeBytes: number;
}

function offlineError(reference: RepositoryReference): CideryError {
  return new CideryError(
    'offline',
    `${reference.repository} cannot be fetched: the hub is switched off`,
    {
      hint: 'unset HF_HUB_OFFLINE to let cidery use the network',
    },
  );
}

/** Sizes and hashes of chosen paths: from the listing, else from the hub's headers. */
async function describeFiles(
  access: HubAccess,
  listing: Listing,
  paths: readonly string[],
  options: HubPullOptions,
): Promise<HubFile[]> {
  const listed = new Map(listing.files.map((file) => [file.path, file.facts]));
  const files: HubFile[] = [];
  await inParallel(paths, access.tuning.rangesAtOnce, options.signal, async (path, signal) => {
    const facts = listed.get(path) ?? null;
    const file =
      facts === null
        ? await fetchFileFacts(access, listing, path, signal, (notice) =>
            options.onEvent({ kind: 'retry', file: path, ...notice }),
          )
        : { path, ...facts };
    files.push(file);
  });
  return files;
}

/** Bytes of a task that are not on this disk. */
async function missingBytes(access: HubAccess, task: BlobTask): Promise<number> {
  if (await hasBlob(access, task)) return 0;
  const blob = join(task.folder.blobs, task.file.digest.hex);
  return task.file.sizeBytes - (await partialBytes(access.ports.disk, blob, task.file));
}

async function makeFolders(access: HubAccess, folder: RepositoryFolder): Promise<void> {
  for (const path of [folder.blobs, folder.snapshots, folder.refs, folder.locks]) {
    await access.ports.disk.makeFolder(path);
  }
}

/** Fetches a blob and gives it its name in the snapshot. */
async function fetchAndLink(
  access: HubAccess,
  task: BlobTask,
  snapshot: string,
  progress: PullProgress,
  signal: AbortSignal,
): Promise<void> {
  await fetchBlob(access, task, progress, signal);
  const { path, digest } = task.file;
  const place = join(snapshot, path);
  await access.ports.disk.makeFolder(dirname(place));
  await access.ports.disk.link(linkTarget(path, digest.hex), place);
}

async function fetchAll(
  access: HubAccess,
  listing: Listing,
  chosen: ChosenFiles,
  options: HubPullOptions,
): Promise<{ folder: RepositoryFolder; sizeBytes: number }> {
  const { repository, commit } = listing;
  const folder = repositoryFolder(access.settings.cacheFolder, repository);
  const files = await describeFiles(access, listing, [...chosen.small, ...chosen.weights], options);
  const tasks = files.map((file): BlobTask => {
    return { file, folder, url: fileUrl(access, repository, commit, file.path) };
  });
  const missing = await Promise.all(tasks.map((task) => missingBytes(access, task)));
  const missingTotal = missing.reduce((sum, bytes) => sum + bytes, 0);
  const sizeBytes = files.reduce((sum, file) => sum + file.sizeBytes, 0);
  options.onEvent({
    kind: 'listed',
    files: files.length,
    totalBytes: sizeBytes,
    missingBytes: missingTotal,
  });
  if (missingTotal > 0) {
    const place = { folder: access.settings.cacheFolder, setting: 'HF_HUB_CACHE' };
    const needed = { modelBytes: missingTotal, unpackingBytes: 0 };
    await checkSpace(access.ports.disk, place, repository, needed);
  }
  await makeFolders(access, folder);
  const totals = new Map(files.map((file) => [file.path, file.sizeBytes]));
  const progress = new PullProgress(access.ports.clock, options.onEvent, totals);
  for (const [index, task] of tasks.entries()) {
    progress.setBytes(task.file.path, task.file.sizeBytes - (missing[index] ?? 0));
  }
  const snapshot = join(folder.snapshots, commit);
  // Weights last: a snapshot that has all of its weights has everything (see scan).
  for (const stage of [chosen.small, chosen.weights]) {
    const stageTasks = tasks.filter(({ file }) => stage.includes(file.path));
    await inParallel(stageTasks, access.tuning.filesAtOnce, options.signal, (task, signal) =>
      fetchAndLink(access, task, snapshot, progress, signal),
    );
  }
  return { folder, sizeBytes };
}

/** Writes which commit a branch or tag is at, as Python's tools read it. */
async function writeRef(
  access: HubAccess,
  folder: RepositoryFolder,
  revision: string,
  commit: string,
): Promise<void> {
  if (isCommit(revision)) return;
  const path = join(folder.refs, revision);
  await access.ports.disk.makeFolder(dirname(path));
  await access.ports.disk.writeTextAtomically(path, commit);
}

/**
 * Fetches a model from the hub into the Hugging Face cache: only what a model needs, only what is
 * not there, checked by hash. An abort or a failure leaves what came, and the next pull goes on
 * from it.
 * Errors: `offline`, `model_not_found`, `hub_unauthorized`, `hub_forbidden`, `hub_rate_limited`,
 * `hub_unavailable`, `hub_bad_answer`, `hub_hostile_name`, `hub_no_weights`, `hub_incomplete`,
 * `hub_token_malformed`, `download_stalled`, `download_corrupt`, `download_wrong_length`,
 * `disk_full_before`, the disk's, the signal's reason.
 */
export async function pullFromHub(
  ports: HubPorts,
  settings: HubSettings,
  reference: RepositoryReference,
  options: HubPullOptions,
): Promise<PulledModel> {
  if (settings.offline) throw offlineError(reference);
  const token = await readToken(ports.disk, settings);
  const tuning = { ...defaultTuning, ...options.tuning };
  const access: HubAccess = { ports, settings, token, tuning };
  const { repository, revision, quantization } = reference;
  const listing = await fetchListing(access, reference, options.signal, (notice) =>
    options.onEvent({ kind: 'retry', file: repository, ...notice }),
  );
  const paths = listing.files.map(({ path }) => path);
  const chosen = chooseFiles(repository, paths, quantization);
  const { folder, sizeBytes } = await fetchAll(access, listing, chosen, options);
  await writeRef(access, folder, revision, listing.commit);
  const snapshot = join(folder.snapshots, listing.commit);
  const [first = ''] = chosen.weights;
  return {
    repository,
    commit: listing.commit,
    kind: chosen.kind,
    path: chosen.kind === 'gguf' ? join(snapshot, first) : snapshot,
    quantization: chosen.quantization,
    sizeBytes,
  };
}
