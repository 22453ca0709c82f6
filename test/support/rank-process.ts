import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { z } from 'zod';
import { CideryError } from '../../src/base/error.ts';
import type { Addon } from '../../src/engine/addon.ts';
import type { AddonName } from '../../src/engine/load-addon.ts';
import type { CompiledChild } from './compile-child.ts';

const build = join(import.meta.dirname, '../../build', `${process.platform}-${process.arch}`);
const replySchema = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('value'), id: z.int(), value: z.unknown() }),
  z.object({ kind: z.literal('error'), id: z.int(), code: z.string(), message: z.string() }),
]);

interface Waiting {
  resolve(value: unknown): void;
  reject(error: Error): void;
}

/** What a function of the addon brings, there and then or later. */
type Brought<Name extends keyof Addon> = Awaited<ReturnType<Addon[Name]>>;

/** A process of its own that has loaded an addon and calls its functions. */
export class RankProcess {
  readonly #process: ChildProcess;
  readonly #waiting = new Map<number, Waiting>();
  #count = 0;

  /** `child`: test/support/rank-child.ts. */
  constructor(child: CompiledChild, addon: AddonName) {
    this.#process = fork(child.script, [addon], {
      serialization: 'advanced',
      execArgv: [],
      env: { ...process.env, CIDERY_ADDONS: build },
    });
    this.#process.on('message', (message) => this.#settle(message));
    this.#process.on('exit', (code, signal) => {
      const error = new CideryError('process_ended', `the rank has left: ${code ?? signal}`);
      for (const waiting of this.#waiting.values()) waiting.reject(error);
      this.#waiting.clear();
    });
  }

  /** Calls the addon; rejects with its coded error, with `process_ended` when the process ends. */
  call<Name extends keyof Addon>(
    name: Name,
    ...args: Parameters<Addon[Name]>
  ): Promise<Brought<Name>> {
    this.#count += 1;
    const id = this.#count;
    const value = new Promise<unknown>((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
    });
    this.#process.send({ id, name, args });
    // Only a value that the addon brought is sent.
    return value.then((brought) => z.custom<Brought<Name>>().parse(brought));
  }

  kill(signal: NodeJS.Signals): void {
    this.#process.kill(signal);
  }

  /** Has nothing more to say to it, so that it ends by itself; resolves when it has. */
  async leave(): Promise<void> {
    const exit = once(this.#process, 'exit');
    this.#process.disconnect();
    await exit;
  }

  /** Kills it and waits until it is gone. */
  async end(): Promise<void> {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return;
    const exit = once(this.#process, 'exit');
    this.#process.kill('SIGKILL');
    await exit;
  }

  #settle(message: unknown): void {
    const reply = replySchema.parse(message);
    const waiting = this.#waiting.get(reply.id);
    this.#waiting.delete(reply.id);
    if (reply.kind === 'value') waiting?.resolve(reply.value);
    else waiting?.reject(new CideryError(reply.code, reply.message));
  }
}
