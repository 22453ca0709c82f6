import { mkdirSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { InterruptedError } from './error.mjs';
import { isMissing, textIfThere } from './hash.mjs';
import { isAlive } from './process.mjs';

/** The holder touches its lock this often; one untouched ten times as long was left behind. */
const heartbeatMs = 3_000;
const staleAfterMs = 10 * heartbeatMs;
const pollMs = 100;

/**
 * Does work while holding a lock file, so that two set-ups of one folder run one after the other.
 * A lock whose process is gone is taken over.
 * @template T
 * @param {string} path
 * @param {{ signal: AbortSignal, onWait: (holder: string) => void }} options
 * @param {() => Promise<T>} work
 * @returns {Promise<T>}
 */
export async function withLock(path, options, work) {
  const mine = JSON.stringify({ pid: process.pid, host: hostname(), nonce: Math.random() });
  mkdirSync(dirname(path), { recursive: true });
  let told = false;
  while (!claim(path, mine)) {
    if (options.signal.aborted) throw new InterruptedError();
    if (takeOver(path)) continue;
    if (!told) options.onWait(holderOf(textIfThere(path)));
    told = true;
    await sleep(pollMs);
  }
  const heartbeat = setInterval(() => touch(path), heartbeatMs);
  try {
    return await work();
  } finally {
    clearInterval(heartbeat);
    if (textIfThere(path) === mine) rmSync(path, { force: true });
  }
}

/**
 * @param {string} path
 * @param {string} content
 */
function claim(path, content) {
  try {
    writeFileSync(path, content, { flag: 'wx' });
    return true;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EEXIST') return false;
    throw error;
  }
}

/**
 * Removes a lock that was left behind. Only the holder of the guard file removes it, and looks
 * again first: otherwise the slower of two could remove the lock that the faster has just made.
 * @param {string} path
 * @returns whether it is worth claiming the lock at once
 */
function takeOver(path) {
  if (!isStale(path)) return false;
  const guard = `${path}.guard`;
  if (ageMs(guard) > staleAfterMs) rmSync(guard, { force: true });
  if (!claim(guard, '')) return false;
  try {
    if (isStale(path)) rmSync(path, { force: true });
  } finally {
    rmSync(guard, { force: true });
  }
  return true;
}

/** @param {string} path */
function isStale(path) {
  const text = textIfThere(path);
  if (text === undefined) return false;
  if (ageMs(path) > staleAfterMs) return true;
  const holder = parse(text);
  return holder !== undefined && holder.host === hostname() && !isAlive(holder.pid);
}

/**
 * @param {string} text
 * @returns {{ pid: number, host: string } | undefined} undefined for a half-written lock
 */
function parse(text) {
  try {
    const { pid, host } = JSON.parse(text);
    return Number.isInteger(pid) && pid > 0 && typeof host === 'string' ? { pid, host } : undefined;
  } catch {
    return undefined;
  }
}

/** @param {string | undefined} text */
function holderOf(text) {
  const holder = parse(text ?? '');
  return holder === undefined ? 'another process' : `process ${holder.pid} on ${holder.host}`;
}

/** @param {string} path */
function ageMs(path) {
  try {
    return Date.now() - statSync(path).mtimeMs;
  } catch (error) {
    if (isMissing(error)) return 0;
    throw error;
  }
}

/** @param {string} path */
function touch(path) {
  const now = new Date();
  try {
    utimesSync(path, now, now);
  } catch (error) {
    // Somebody deleted the build folder; the work itself will say so.
    if (!isMissing(error)) throw error;
  }
}
