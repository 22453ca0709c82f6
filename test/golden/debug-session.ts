import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { z } from 'zod';

/** The launcher of this checkout. */
const launcher = join(import.meta.dirname, '../../bin/cidery');
const replySchema = z.looseObject({
  id: z.int(),
  error: z.object({ code: z.string(), message: z.string() }).optional(),
});

interface Waiting {
  resolve(reply: unknown): void;
  reject(error: Error): void;
}

/**
 * One `cidery debug` process: a request a line in, a reply a line out, matched by id.
 * Everything that still waits when the process ends fails with what it last said on stderr.
 */
export class DebugSession {
  readonly #process: ChildProcessWithoutNullStreams;
  readonly #waiting = new Map<number, Waiting>();
  readonly #ended: Promise<void>;
  #lastWords = '';
  #count = 0;

  /** `environment`: variables on top of this process's own. */
  constructor(flags: readonly string[], environment: Readonly<Record<string, string>> = {}) {
    this.#process = spawn(process.execPath, [launcher, 'debug', ...flags], {
      env: { ...process.env, ...environment },
    });
    this.#process.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.#lastWords = (this.#lastWords + text).slice(-2000);
    });
    // A process that has gone is told by its end, not by the pipe that breaks.
    this.#process.stdin.on('error', () => undefined);
    createInterface({ input: this.#process.stdout }).on('line', (line) => this.#receive(line));
    this.#ended = new Promise((resolve) => {
      this.#process.on('error', (error) => this.#end(error.message, resolve));
      this.#process.on('close', (status, signal) => this.#end(String(signal ?? status), resolve));
    });
  }

  /** Sends a request and parses its reply; a coded error or a foreign reply rejects. */
  async request<Reply>(schema: z.ZodType<Reply>, request: object): Promise<Reply> {
    this.#count += 1;
    const id = this.#count;
    const reply = new Promise<unknown>((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
    });
    this.#process.stdin.write(`${JSON.stringify({ id, ...request })}\n`);
    return schema.parse(await reply);
  }

  /** Ends the process by closing its input, and waits until it has left. */
  async close(): Promise<void> {
    this.#process.stdin.end();
    await this.#ended;
  }

  #receive(line: string): void {
    const reply = replySchema.parse(JSON.parse(line));
    const waiting = this.#waiting.get(reply.id);
    this.#waiting.delete(reply.id);
    if (waiting === undefined) throw new Error(`a reply that nobody asked for: ${line}`);
    if (reply.error === undefined) waiting.resolve(reply);
    else waiting.reject(new Error(`${reply.error.code}: ${reply.error.message}`));
  }

  #end(status: string, resolve: () => void): void {
    const error = new Error(`debug ended (${status}): ${this.#lastWords}`);
    for (const waiting of this.#waiting.values()) waiting.reject(error);
    this.#waiting.clear();
    resolve();
  }
}
