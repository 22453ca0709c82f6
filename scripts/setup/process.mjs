import { spawn } from 'node:child_process';
import { accessSync, constants, statSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { InterruptedError } from './error.mjs';

/**
 * The arguments in a text without quotes.
 * @param {string} text
 */
export function words(text) {
  return text.split(/\s+/u).filter((word) => word !== '');
}

/** What is kept of a program's output; the end of it is what says why it failed. */
const outputMaxCharacters = 256 * 1024;

/**
 * @typedef {object} RunOptions
 * @property {string} [cwd]
 * @property {NodeJS.ProcessEnv} env
 * @property {AbortSignal} [signal]
 * @property {number} [timeoutMs] it is ended then
 */

/**
 * @typedef {object} Finished
 * @property {number | null} code exit status; null when a signal ended it
 * @property {string | null} signal
 * @property {string} stdout the last part of it
 * @property {string} stderr the last part of it
 */

/**
 * The path of a program, looked up as a shell would, or undefined.
 * @param {string} name a bare name, or a path
 * @param {NodeJS.ProcessEnv} env its PATH counts, not this process's
 */
export function findProgram(name, env) {
  const candidates = name.includes('/')
    ? [name]
    : (env['PATH'] ?? '').split(delimiter).map((folder) => join(folder || '.', name));
  return candidates.find((path) => {
    try {
      accessSync(path, constants.X_OK);
      return statSync(path).isFile();
    } catch {
      return false;
    }
  });
}

/**
 * Runs a program to its end without standard input. Each is the head of its own process group, so
 * that an interruption ends what it started, too.
 * @param {string} command
 * @param {readonly string[]} args
 * @param {RunOptions} options
 * @returns {Promise<Finished>} rejects with InterruptedError once the signal is aborted
 */
export function run(command, args, options) {
  const { cwd, env, signal, timeoutMs } = options;
  if (signal?.aborted) return Promise.reject(new InterruptedError());
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      ...(cwd === undefined ? {} : { cwd }),
      env,
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    });
    const end = () => {
      // A group that has ended meanwhile is what was wanted.
      try {
        if (child.pid !== undefined) process.kill(-child.pid, 'SIGTERM');
      } catch {}
    };
    const timer = timeoutMs === undefined ? undefined : setTimeout(end, timeoutMs);
    signal?.addEventListener('abort', end, { once: true });
    const stdout = collect(child.stdout);
    const stderr = collect(child.stderr);
    const settle = () => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', end);
    };
    child.once('error', (error) => {
      settle();
      reject(error);
    });
    child.once('close', (code, ended) => {
      settle();
      if (signal?.aborted) reject(new InterruptedError());
      else resolve({ code, signal: ended, stdout: stdout(), stderr: stderr() });
    });
  });
}

/** @param {import('node:stream').Readable} stream */
function collect(stream) {
  let text = '';
  stream.setEncoding('utf8');
  stream.on('data', (/** @type {string} */ chunk) => {
    text = (text + chunk).slice(-outputMaxCharacters);
  });
  return () => text;
}

/**
 * The lines of a program's output that say why it failed, at most `count`.
 * @param {Finished} finished
 * @param {number} count
 */
export function lastLines(finished, count) {
  const lines = `${finished.stdout}\n${finished.stderr}`.split('\n').map((line) => line.trimEnd());
  return lines.filter((line) => line !== '').slice(-count);
}

/**
 * Whether a process of this machine runs.
 * @param {number} pid
 */
export function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // EPERM: it lives and belongs to somebody else.
    return error instanceof Error && 'code' in error && error.code === 'EPERM';
  }
}
