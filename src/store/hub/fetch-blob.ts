import { join } from 'node:path';
import { limits } from '../../base/limits.ts';
import type { FileLock } from '../../ports/lock.ts';
import type { RepositoryFolder } from '../cache/layout.ts';
import type { PullProgress } from '../pull-progress.ts';
import { type HubAccess, HubError } from './access.ts';
import type { HubFile } from './listing.ts';
import { PartialFile } from './partial-file.ts';
import { transferFile } from './transfer.ts';
import { hashFile } from './verify.ts';

export interface BlobTask {
  readonly file: HubFile;
  readonly folder: RepositoryFolder;
  readonly url: string;
}

/** True when the blob is on this disk, whole. */
export async function hasBlob(access: HubAccess, task: BlobTask): Promise<boolean> {
  const facts = await access.ports.disk.facts(join(task.folder.blobs, task.file.digest.hex));
  return facts?.kind === 'file' && facts.sizeBytes === task.file.sizeBytes;
}

/** Fills and checks a partial file; a wrong hash is given one more try from nothing. */
async function fillAndVerify(
  access: HubAccess,
  task: BlobTask,
  partial: PartialFile,
  progress: PullProgress,
  signal: AbortSignal,
): Promise<void> {
  const { file, folder } = task;
  for (let attempt = 1; ; attempt++) {
    progress.setBytes(file.path, partial.doneBytes);
    progress.event({ kind: 'file', file: file.path, state: 'fetching' });
    await transferFile(
      access,
      {
        url: task.url,
        subject: folder.repository,
        file,
        partial,
        onBytes: (bytes) => progress.received(file.path, bytes),
        onRetry: (notice) => progress.event({ kind: 'retry', file: file.path, ...notice }),
      },
      signal,
    );
    progress.event({ kind: 'file', file: file.path, state: 'verifying' });
    const { algorithm, hex } = file.digest;
    if ((await hashFile(access.ports.disk, partial.path, algorithm, signal)) === hex) return;
    await partial.reset();
    const code = 'download_corrupt';
    if (attempt === 2) {
      throw new HubError(code, `${file.path} of ${folder.repository} does not hash to ${hex}`, {
        hint: 'what came was thrown away; the hub or a cache before it is broken, try again later',
      });
    }
    progress.event({ kind: 'retry', file: file.path, attempt, waitMs: 0, code });
  }
}

/**
 * Takes the blob's lock, or resolves to null once the blob is there because somebody else fetched
 * it.
 */
async function lockOrBlob(
  access: HubAccess,
  task: BlobTask,
  progress: PullProgress,
  signal: AbortSignal,
): Promise<FileLock | null> {
  const { clock, tryLock } = access.ports;
  const path = join(task.folder.locks, `${task.file.digest.hex}.cidery.lock`);
  for (let isFirst = true; ; isFirst = false) {
    const lock = await tryLock(path);
    // Looked at with the lock in hand: between a look and the lock another pull may have ended.
    if (await hasBlob(access, task)) {
      await lock?.release();
      return null;
    }
    if (lock !== null) return lock;
    if (isFirst) progress.event({ kind: 'file', file: task.file.path, state: 'waiting' });
    await clock.sleep(limits.fileLockPollMs, signal);
  }
}

/**
 * Brings one blob into the cache, verified; only a file that hashes right ever gets the blob's
 * name. Two pulls of the same blob, in this process or another, do the work once.
 * Errors: those of `transferFile`, `download_corrupt`, the signal's reason; the bytes that came are
 * kept.
 */
export async function fetchBlob(
  access: HubAccess,
  task: BlobTask,
  progress: PullProgress,
  signal: AbortSignal,
): Promise<void> {
  const { disk, clock } = access.ports;
  const { path, sizeBytes, digest } = task.file;
  const isHere = await hasBlob(access, task);
  const lock = isHere ? null : await lockOrBlob(access, task, progress, signal);
  if (lock === null) {
    progress.setBytes(path, sizeBytes);
    progress.event({ kind: 'file', file: path, state: 'cached' });
    return;
  }
  const blob = join(task.folder.blobs, digest.hex);
  try {
    // A blob of another length can only be damage; Python's tools rename whole files into place
    // too.
    if ((await disk.facts(blob)) !== null) await disk.remove(blob);
    const partial = await PartialFile.open(
      { disk, clock },
      blob,
      task.file,
      access.tuning.stateSaveMs,
    );
    try {
      await fillAndVerify(access, task, partial, progress, signal);
      await partial.finish();
    } finally {
      await partial.close();
    }
  } finally {
    await lock.release();
  }
  progress.event({ kind: 'file', file: path, state: 'done' });
}
