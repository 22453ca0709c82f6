import { randomUUID } from 'node:crypto';
import { constants } from 'node:fs';
import * as fs from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { CideryError } from '../base/error.ts';
import type { Disk, FileFacts, OpenFile, WritableFile } from '../ports/disk.ts';
import { diskError, errnoOf } from './disk-error.ts';
import { makeFolder } from './make-folder.ts';

/** Runs one thing of node:fs and turns what it throws into a coded error that names the path. */
async function at<T>(path: string, action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (error) {
    throw diskError(error, path);
  }
}

/** True for what says that nothing is at a path: no entry, or a parent that is not a folder. */
function isMissing(error: unknown): boolean {
  const errno = errnoOf(error);
  return errno === 'ENOENT' || errno === 'ENOTDIR' || errno === 'ELOOP';
}

class RealOpenFile implements OpenFile {
  readonly #handle: fs.FileHandle;
  readonly #path: string;
  readonly sizeBytes: number;

  constructor(handle: fs.FileHandle, path: string, sizeBytes: number) {
    this.#handle = handle;
    this.#path = path;
    this.sizeBytes = sizeBytes;
  }

  read(offset: number, length: number): Promise<Uint8Array> {
    return at(this.#path, async () => {
      // A lying header may ask for terabytes: what is allocated is bounded by what the file holds.
      const wanted = Math.max(0, Math.min(length, this.sizeBytes - offset));
      const bytes = new Uint8Array(wanted);
      let filled = 0;
      while (filled < wanted) {
        const { bytesRead } = await this.#handle.read(
          bytes,
          filled,
          wanted - filled,
          offset + filled,
        );
        if (bytesRead === 0) break;
        filled += bytesRead;
      }
      return bytes.subarray(0, filled);
    });
  }

  close(): Promise<void> {
    return at(this.#path, () => this.#handle.close());
  }
}

class RealWritableFile implements WritableFile {
  readonly #handle: fs.FileHandle;
  readonly #path: string;

  constructor(handle: fs.FileHandle, path: string) {
    this.#handle = handle;
    this.#path = path;
  }

  write(offset: number, bytes: Uint8Array): Promise<void> {
    return at(this.#path, async () => {
      let written = 0;
      while (written < bytes.length) {
        const { bytesWritten } = await this.#handle.write(
          bytes,
          written,
          bytes.length - written,
          offset + written,
        );
        written += bytesWritten;
      }
    });
  }

  /** libuv's fdatasync is F_FULLFSYNC on macOS, where a plain fsync stops at the drive's cache. */
  sync(): Promise<void> {
    return at(this.#path, () => this.#handle.datasync());
  }

  truncate(sizeBytes: number): Promise<void> {
    return at(this.#path, () => this.#handle.truncate(sizeBytes));
  }

  close(): Promise<void> {
    return at(this.#path, () => this.#handle.close());
  }
}

/**
 * Opens for reading and refuses what is not a regular file; a pipe must not block (hence
 * O_NONBLOCK).
 */
async function openRegular(path: string): Promise<RealOpenFile> {
  const handle = await fs.open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const facts = await handle.stat();
    if (!facts.isFile()) {
      throw new CideryError('file_not_regular', `${path} is not a regular file`, {
        hint: 'give the path of a file',
      });
    }
    return new RealOpenFile(handle, path, facts.size);
  } catch (error) {
    await handle.close();
    throw error;
  }
}

async function syncFolder(path: string): Promise<void> {
  const handle = await fs.open(path, constants.O_RDONLY);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

async function writeAtomically(path: string, text: string): Promise<void> {
  const temporary = `${path}.${randomUUID()}.tmp`;
  try {
    const handle = await fs.open(temporary, 'wx', 0o644);
    try {
      await handle.writeFile(text);
      await handle.datasync();
    } finally {
      await handle.close();
    }
    await fs.rename(temporary, path);
  } catch (error) {
    await fs.rm(temporary, { force: true });
    throw error;
  }
  await syncFolder(dirname(path));
}

async function replaceLink(target: string, path: string): Promise<void> {
  const temporary = join(dirname(path), `.${randomUUID()}.link`);
  await fs.symlink(target, temporary);
  try {
    await fs.rename(temporary, path);
  } catch (error) {
    await fs.rm(temporary, { force: true });
    throw error;
  }
}

async function factsOf(path: string): Promise<FileFacts | null> {
  // No path holds a NUL; node:fs calls it a wrong argument instead of a missing file.
  if (path.includes('\0')) return null;
  try {
    const facts = await fs.stat(path);
    // Sockets, pipes and devices are of no use to anybody here.
    if (!facts.isFile() && !facts.isDirectory()) return null;
    return {
      kind: facts.isFile() ? 'file' : 'folder',
      sizeBytes: facts.size,
      modifiedMs: facts.mtimeMs,
    };
  } catch (error) {
    if (isMissing(error)) return null;
    throw error;
  }
}

/** Free bytes of the file system that holds the path, or its nearest parent that exists. */
async function freeBytesAt(path: string): Promise<number> {
  for (let folder = path; ; folder = dirname(folder)) {
    try {
      const facts = await fs.statfs(folder);
      return facts.bavail * facts.bsize;
    } catch (error) {
      if (!isMissing(error) || folder === dirname(folder)) throw error;
    }
  }
}

async function listFolder(path: string): Promise<string[]> {
  try {
    return (await fs.readdir(path)).sort();
  } catch (error) {
    if (isMissing(error)) return [];
    throw error;
  }
}

/** The machine's own disk. What it throws is coded (see `diskError`). */
export const realDisk: Disk = {
  open: (path) => at(path, () => openRegular(path)),
  openForWriting: (path) =>
    at(path, async () => {
      const flags = constants.O_WRONLY | constants.O_CREAT;
      return new RealWritableFile(await fs.open(path, flags, 0o644), path);
    }),
  readText: (path, maxBytes) =>
    at(path, async () => {
      const file = await openRegular(path);
      try {
        if (file.sizeBytes > maxBytes) {
          throw new CideryError(
            'file_too_large',
            `${path} has ${file.sizeBytes} bytes, more than ${maxBytes}`,
            { hint: 'this is not a file of the kind that belongs there' },
          );
        }
        return new TextDecoder().decode(await file.read(0, file.sizeBytes));
      } finally {
        await file.close();
      }
    }),
  writeTextAtomically: (path, text) => at(path, () => writeAtomically(path, text)),
  facts: (path) => at(path, () => factsOf(path)),
  list: (path) => at(path, () => listFolder(path)),
  makeFolder: (path) => at(path, () => makeFolder(path)),
  rename: (from, to) => at(from, () => fs.rename(from, to)),
  link: (target, path) => at(path, () => replaceLink(target, path)),
  realPath: (path) => at(path, () => fs.realpath(path)),
  /**
   * Removes a file, a link (never what it leads to) or a whole folder; nothing there is no error.
   */
  remove: (path) => at(path, () => fs.rm(path, { recursive: true, force: true })),
  freeBytes: (path) => at(path, () => freeBytesAt(path)),
};
