import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';

const main = join(import.meta.dirname, '../../dist/cli/main.js');

export interface CliResult {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A `cidery` process under way. */
export interface CliProcess {
  readonly process: ChildProcessByStdio<Writable, Readable, Readable>;
  readonly result: Promise<CliResult>;
  /** The next line of standard output; rejects when the process ends without one. */
  line(): Promise<string>;
}

/** A home and a cache of their own, no network, no key: what the command line sees in tests. */
export class CliSandbox {
  readonly folder: string;
  readonly home: string;
  readonly #running = new Set<CliProcess>();

  private constructor(folder: string) {
    this.folder = folder;
    this.home = join(folder, 'home');
  }

  static async open(): Promise<CliSandbox> {
    return new CliSandbox(await mkdtemp(join(tmpdir(), 'cidery-cli-')));
  }

  start(args: readonly string[], environment: Record<string, string> = {}): CliProcess {
    const { CIDERY_API_KEY: _key, CIDERY_EXECUTOR: _executor, ...inherited } = process.env;
    const child = spawn(process.execPath, [main, ...args], {
      cwd: this.folder,
      env: {
        ...inherited,
        CIDERY_HOME: this.home,
        HF_HOME: join(this.folder, 'huggingface'),
        HF_HUB_OFFLINE: '1',
        PIP_NO_INDEX: '1',
        ...environment,
      },
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    const started = follow(child);
    this.#running.add(started);
    void started.result.then(() => this.#running.delete(started));
    return started;
  }

  /** Runs a command to its end. */
  run(
    args: readonly string[],
    options: { input?: string; environment?: Record<string, string> } = {},
  ): Promise<CliResult> {
    const started = this.start(args, options.environment);
    started.process.stdin.end(options.input ?? '');
    return started.result;
  }

  async close(): Promise<void> {
    for (const { process: child } of this.#running) child.kill('SIGKILL');
    await Promise.all([...this.#running].map(({ result }) => result));
    await rm(this.folder, { recursive: true, force: true });
  }
}

function follow(child: CliProcess['process']): CliProcess {
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  // A command that has ended does not read what is left of its input.
  child.stdin.on('error', () => {});
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const result = once(child, 'close').then(() => ({ status: child.exitCode, stdout, stderr }));
  return {
    process: child,
    result,
    async line() {
      const next = await lines.next();
      if (next.done !== true) return next.value;
      throw new Error(`the process ended: ${(await result).stderr}`);
    },
  };
}

/** The one JSON value that standard output holds; throws when there is anything else. */
export function onlyValue(stdout: string): unknown {
  const value: unknown = JSON.parse(stdout);
  return value;
}
