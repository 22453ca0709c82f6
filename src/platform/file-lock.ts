import { randomUUID } from 'node:crypto';
import * as fs from 'node:fs/promises';
import { hostname } from 'node:os';
import { limits } from '../base/limits.ts';
import type { FileLock, TryLock } from '../ports/lock.ts';
import { diskError, errnoOf } from './disk-error.ts';

/** What a lock file says of its holder: process id, host, and a nonce that no other holder has. */
interface Holder {
  readonly pid: number;
  readonly host: string;
  readonly nonce: string;
}

function parseHolder(text: string): Holder | null {
  const [pid = '', host = '', nonce = ''] = text.split('\n');
  return /^[1-9]\d{0,9}$/.test(pid) && nonce !== '' ? { pid: Number(pid), host, nonce } : null;
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return errnoOf(error) !== 'ESRCH';
  }
}

/** The text of a lock file, or null when it is gone. */
async function readIfThere(path: string): Promise<string | null> {
  try {
    return await fs.readFile(path, 'utf8');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return null;
    throw error;
  }
}

/** The lock's text when its holder is gone, else null. */
async function staleText(path: string): Promise<string | null> {
  const text = await readIfThere(path);
  if (text === null) return null;
  const holder = parseHolder(text);
  if (holder !== null && holder.host === hostname() && !isAlive(holder.pid)) return text;
  const { mtimeMs } = await fs.stat(path);
  return Date.now() - mtimeMs > limits.fileLockStaleMs ? text : null;
}

/** Takes a dead holder's file away; if it had become somebody else's in between, gives it back. */
async function breakStale(path: string, stale: string): Promise<void> {
  const aside = `${path}.${randomUUID()}.stale`;
  await fs.rename(path, aside);
  try {
    if ((await fs.readFile(aside, 'utf8')) !== stale) await fs.link(aside, path);
  } finally {
    await fs.rm(aside, { force: true });
  }
}

class RealFileLock implements FileLock {
  readonly #path: string;
  readonly #text: string;
  readonly #timer: NodeJS.Timeout;

  constructor(path: string, text: string) {
    this.#path = path;
    this.#text = text;
    this.#timer = setInterval(() => {
      const now = new Date();
      // A lock whose file is gone is found out by who holds it when the work is checked and
      // renamed.
      fs.utimes(path, now, now).catch(() => clearInterval(this.#timer));
    }, limits.fileLockTouchMs);
    this.#timer.unref();
  }

  async release(): Promise<void> {
    clearInterval(this.#timer);
    if ((await readIfThere(this.#path)) === this.#text) await fs.rm(this.#path, { force: true });
  }
}

/**
 * One try to create the file; null when it is there already. The text is whole before the name
 * exists.
 */
async function create(path: string): Promise<FileLock | null> {
  const text = `${process.pid}\n${hostname()}\n${randomUUID()}\n`;
  const temporary = `${path}.${randomUUID()}.new`;
  await fs.writeFile(temporary, text, { flag: 'wx' });
  try {
    await fs.link(temporary, path);
    return new RealFileLock(path, text);
  } catch (error) {
    if (errnoOf(error) === 'EEXIST') return null;
    throw error;
  } finally {
    await fs.rm(temporary, { force: true });
  }
}

/**
 * Frees the lock if its holder is gone; false when it is held, or when somebody else was quicker.
 */
async function freeIfStale(path: string): Promise<boolean> {
  try {
    const stale = await staleText(path);
    if (stale === null) return false;
    await breakStale(path, stale);
    return true;
  } catch (error) {
    const errno = errnoOf(error);
    if (errno === 'ENOENT' || errno === 'EEXIST') return false;
    throw error;
  }
}

/**
 * A lock file that names its holder. It is free again when the holder releases it, when its process
 * is gone, or when it has not touched it for `fileLockStaleMs` (a process on another machine that
 * shares the disk).
 */
export const tryFileLock: TryLock = async (path) => {
  try {
    const lock = await create(path);
    if (lock !== null) return lock;
    return (await freeIfStale(path)) ? await create(path) : null;
  } catch (error) {
    throw diskError(error, path);
  }
};
