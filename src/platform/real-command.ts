import { spawn } from 'node:child_process';
import { CideryError, errorMessage } from '../base/error.ts';
import type { CommandOptions, CommandResult, RunCommand } from '../ports/command.ts';
import { errnoOf } from './disk-error.ts';

/** Keeps the last `maxBytes` of what is added. */
class Tail {
  readonly #maxBytes: number;
  #chunks: Buffer[] = [];
  #bytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  add(chunk: Buffer): void {
    this.#chunks.push(chunk);
    this.#bytes += chunk.length;
    if (this.#bytes > 2 * this.#maxBytes) {
      const kept = Buffer.concat(this.#chunks).subarray(-this.#maxBytes);
      this.#chunks = [Buffer.from(kept)];
      this.#bytes = kept.length;
    }
  }

  text(): string {
    return Buffer.concat(this.#chunks).subarray(-this.#maxBytes).toString('utf8');
  }
}

function startError(error: Error, program: string): CideryError {
  if (errnoOf(error) === 'ENOENT') {
    return new CideryError('command_missing', `there is no program ${program} on this machine`, {
      hint: `install ${program}`,
      cause: error,
    });
  }
  return new CideryError('command_failed', `${program} cannot be started: ${errorMessage(error)}`, {
    hint: `check that ${program} runs from a shell`,
    cause: error,
  });
}

/** Ends a process and all of its group (it leads one), which a program that starts others needs. */
function endGroup(pid: number | undefined): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, 'SIGKILL');
  } catch (error) {
    if (errnoOf(error) !== 'ESRCH') throw error;
  }
}

/**
 * Runs a program as the leader of its own process group, so that a stop reaches all that it
 * started.
 */
export const runCommand: RunCommand = (program, args, options: CommandOptions) =>
  new Promise<CommandResult>((resolve, reject) => {
    const { signal } = options;
    if (signal?.aborted) {
      reject(signal.reason);
      return;
    }
    const child = spawn(program, args, {
      detached: true,
      env: { ...process.env, ...options.environment },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const tail = new Tail(options.outputMaxBytes);
    child.stdout.on('data', (chunk: Buffer) => tail.add(chunk));
    child.stderr.on('data', (chunk: Buffer) => tail.add(chunk));
    const onAbort = (): void => endGroup(child.pid);
    // Detached, it would outlive this process; a node that is told to stop aborts the signal, and
    // this covers exit.
    process.once('exit', onAbort);
    signal?.addEventListener('abort', onAbort, { once: true });
    const settled = (): void => {
      process.removeListener('exit', onAbort);
      signal?.removeEventListener('abort', onAbort);
    };
    child.once('error', (error) => {
      settled();
      reject(startError(error, program));
    });
    child.once('close', (status) => {
      settled();
      if (signal?.aborted) reject(signal.reason);
      else resolve({ status, output: tail.text() });
    });
  });
