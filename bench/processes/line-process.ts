import type { ChildProcessWithoutNullStreams } from 'node:child_process';
import { z } from 'zod';
import { CideryError, errorMessage } from '../../src/base/error.ts';
import { JsonLines, jsonLine } from '../../src/base/lines.ts';
import { benchLimits } from '../limits.ts';
import { type Command, startChild } from './child.ts';

const headSchema = z.looseObject({
  id: z.int().optional(),
  error: z.object({ code: z.string(), message: z.string() }).optional(),
});

interface Waiting {
  resolve(reply: unknown): void;
  reject(error: Error): void;
}

/**
 * A process that takes a JSON request a line and gives a JSON reply a line, matched by id. A
 * request that takes longer than its limit ends the process; everything that waits when it ends
 * is rejected with what it last said.
 */
export class LineProcess {
  readonly #title: string;
  readonly #process: ChildProcessWithoutNullStreams;
  readonly #lines = new JsonLines(benchLimits.lineMaxBytes);
  readonly #waiting = new Map<number, Waiting>();
  readonly #ended: Promise<void>;
  #lastWords = '';
  #failure: CideryError | null = null;
  #count = 0;

  constructor(title: string, command: Command) {
    this.#title = title;
    this.#process = startChild(command);
    this.#process.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.#lastWords = (this.#lastWords + text).slice(-benchLimits.lastWordsMaxCharacters);
    });
    this.#process.stdout.on('data', (bytes: Buffer) => this.#receive(bytes));
    this.#ended = new Promise((resolve) => {
      this.#process.once('error', (error) => this.#end(error.message, resolve));
      this.#process.once('close', (status, signal) => this.#end(`${signal ?? status}`, resolve));
    });
  }

  get pid(): number {
    return this.#process.pid ?? 0;
  }

  /**
   * @throws CideryError with the code of the reply's error; `bench_time_limit`; `bench_process`
   * where the process is gone or says what `schema` does not have.
   */
  async request<Reply>(schema: z.ZodType<Reply>, body: object, limitMs: number): Promise<Reply> {
    if (this.#failure !== null) throw this.#failure;
    this.#count += 1;
    const id = this.#count;
    const reply = new Promise<unknown>((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
    });
    const timer = setTimeout(() => {
      const message = `longer than ${limitMs / 1_000} s`;
      this.#fail(new CideryError('bench_time_limit', message));
    }, limitMs);
    try {
      this.#process.stdin.write(jsonLine({ id, ...body }));
      const parsed = schema.safeParse(await reply);
      if (parsed.success) return parsed.data;
      throw this.#broken(`an unexpected reply: ${z.prettifyError(parsed.error)}`);
    } finally {
      clearTimeout(timer);
    }
  }

  /** Ends the process by closing its input, and waits until it has left. */
  async close(): Promise<void> {
    this.#process.stdin.end();
    const timer = setTimeout(() => this.#process.kill('SIGKILL'), benchLimits.leaveMs);
    await this.#ended;
    clearTimeout(timer);
  }

  #receive(bytes: Buffer): void {
    try {
      for (const value of this.#lines.push(bytes)) this.#answer(value);
    } catch (error) {
      this.#fail(this.#broken(errorMessage(error)));
    }
  }

  #answer(value: unknown): void {
    const { id, error } = headSchema.parse(value);
    const waiting = id === undefined ? undefined : this.#waiting.get(id);
    if (id === undefined || waiting === undefined) throw new Error('a reply to no request');
    this.#waiting.delete(id);
    if (error === undefined) waiting.resolve(value);
    else waiting.reject(new CideryError(error.code, error.message));
  }

  #fail(error: CideryError): void {
    this.#failure ??= error;
    for (const waiting of this.#waiting.values()) waiting.reject(this.#failure);
    this.#waiting.clear();
    this.#process.kill('SIGKILL');
  }

  #end(status: string, resolve: () => void): void {
    this.#fail(this.#broken(`it ended (${status})`));
    resolve();
  }

  #broken(what: string): CideryError {
    const words = this.#lastWords.trim().split('\n').at(-1) ?? '';
    const said = words === '' ? '' : `; it last said: ${words}`;
    return new CideryError('bench_process', `${this.#title}: ${what}${said}`);
  }
}
