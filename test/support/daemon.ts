import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, symlinkSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { z } from 'zod';
import { starterHome, starterModel } from './starter-model.ts';

const launcher = resolve(import.meta.dirname, '../../bin/cidery');
const logLine = z.object({ timeMs: z.number(), source: z.string(), text: z.string() });
const eventLine = z.discriminatedUnion('event', [
  z.looseObject({ event: z.literal('ready'), url: z.string() }),
  z.looseObject({ event: z.literal('model') }),
]);

/** A daemon as its user starts it, with the starter model loaded. */
export class Daemon {
  readonly url: string;
  readonly #process: ChildProcess;
  readonly #home: string;

  private constructor(process: ChildProcess, home: string, url: string) {
    this.#process = process;
    this.#home = home;
    this.url = url;
  }

  /**
   * Resolves when the model is ready. `home` is an empty folder, into which the model is linked, or
   * that of a daemon before this one.
   */
  static async start(home: string, port = 0): Promise<Daemon> {
    const starter = join(await starterHome(), 'models', 'starter');
    mkdirSync(join(home, 'models'), { recursive: true });
    const link = join(home, 'models', 'starter');
    if (!existsSync(link)) symlinkSync(starter, link);
    const flags = ['start', '--json', '--port', `${port}`, '--home', home, '--model', starterModel];
    const child = spawn(process.execPath, [launcher, ...flags], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let lastWords = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      lastWords = (lastWords + text).slice(-2_000);
    });
    let url = '';
    for await (const line of createInterface({ input: child.stdout })) {
      const event = eventLine.parse(JSON.parse(line));
      if (event.event === 'ready') url = event.url;
      else return new Daemon(child, home, url);
    }
    throw new Error(`the node did not come up: ${lastWords}`);
  }

  get pid(): number {
    if (this.#process.pid === undefined) throw new Error('no process');
    return this.#process.pid;
  }

  /** Lines of its log. */
  log(): string[] {
    const text = readFileSync(join(this.#home, 'logs', 'node.log'), 'utf8').trim();
    return text.split('\n').map((line) => logLine.parse(JSON.parse(line)).text);
  }

  /** Ends it as Ctrl-C does; its exit status. */
  async stop(): Promise<number | null> {
    if (this.#process.exitCode !== null) return this.#process.exitCode;
    const closed = once(this.#process, 'close');
    this.#process.kill('SIGTERM');
    await closed;
    return this.#process.exitCode;
  }
}

/** Resident memory of a process, in MiB (Linux and macOS). */
export function residentMebibytes(pid: number): number {
  const { stdout } = spawnSync('ps', ['-o', 'rss=', '-p', String(pid)], { encoding: 'utf8' });
  return Number(stdout.trim()) / 1024;
}
