import { mkdtemp } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { CideryError } from '../../src/base/error.ts';
import { runCommand } from '../../src/platform/real-command.ts';
import { benchLimits } from '../limits.ts';
import { type Command, startChild } from '../processes/child.ts';
import { ownName } from '../recorder.ts';
import { EngineProcess } from './engine-process.ts';
import type { Needs, StartPrompt, Subject } from './subject.ts';

export interface CiderySettings {
  readonly root: string;
  /** A home of the bench's own, in a folder that goes with it: no running node is in its way. */
  readonly home: string;
  /** Absolute path of the model. */
  readonly model: string;
  readonly executor: string | null;
  readonly version: string;
  /** The product in another setting beside itself: a name, and variables of its environment. */
  readonly variant?: {
    readonly name: string;
    readonly environment: Readonly<Record<string, string>>;
  };
}

export interface ModelFacts {
  /** Of all weights, which is what a decoded token reads. */
  readonly weightBytes: number;
  /** Products that a prompt's token costs: the weights of all matrices but the embedding's. */
  readonly multiplies: number;
}

const parametersSchema = z.looseObject({
  ranks: z
    .array(
      z.looseObject({
        bytes: z.number(),
        tensors: z.array(z.looseObject({ path: z.string(), shape: z.array(z.number()) })),
      }),
    )
    .length(1),
});
const planSchema = z.looseObject({
  plans: z.array(z.looseObject({ memory: z.looseObject({ cacheBytes: z.number() }) })).min(1),
});

/** The product, as its users start it: dist/cli/main.js in processes of its own. */
export class Cidery implements Subject {
  readonly name: string;
  readonly maxSequences = 64;
  readonly #settings: CiderySettings;

  constructor(settings: CiderySettings) {
    this.#settings = settings;
    this.name = settings.variant?.name ?? ownName;
  }

  get version(): string {
    return this.#settings.version;
  }

  /** A new folder that goes when the bench ends. */
  newFolder(): Promise<string> {
    return mkdtemp(`${this.#settings.home}-`);
  }

  get model(): string {
    return this.#settings.model;
  }

  open(needs: Needs): EngineProcess {
    const { ranks = 1, split = null } = needs;
    const divided = ranks === 1 ? [] : ['--ranks', `${ranks}`, '--split', split ?? 'auto'];
    const command = this.command('debug', [...this.flags(needs), ...divided]);
    return new EngineProcess(this.name, command, this.#settings.model);
  }

  /** `--precise`, `--threads` and `--executor`, as all commands take them. */
  flags({ threads, precise }: Pick<Needs, 'threads' | 'precise'>): string[] {
    const { executor } = this.#settings;
    return [
      '--threads',
      `${threads}`,
      ...(precise ? ['--precise'] : []),
      ...(executor === null ? [] : ['--executor', executor]),
    ];
  }

  command(name: string, args: readonly string[]): Command {
    const { root, home, variant } = this.#settings;
    return {
      program: process.execPath,
      args: [join(root, 'dist/cli/main.js'), name, ...args],
      environment: { CIDERY_HOME: home, ...variant?.environment },
    };
  }

  /** The first byte of text that `run` prints. */
  firstTokenMs({ text }: StartPrompt, needs: Needs, limitMs: number): Promise<number> {
    const flags = ['--raw', '--max-tokens', '8', '--temperature', '0', ...this.flags(needs)];
    const command = this.command('run', [this.#settings.model, text, ...flags]);
    const startedAt = performance.now();
    const child = startChild(command);
    child.stderr.resume();
    let firstAt: number | null = null;
    child.stdout.on('data', () => (firstAt ??= performance.now()));
    const timer = setTimeout(() => child.kill('SIGKILL'), limitMs);
    return new Promise((resolve, reject) => {
      child.once('error', reject);
      child.once('close', (status) => {
        clearTimeout(timer);
        if (firstAt !== null && status === 0) resolve(firstAt - startedAt);
        else reject(new CideryError('bench_process', `\`run\` ended with ${status}`));
      });
    });
  }

  async facts(): Promise<ModelFacts> {
    const engine = this.open({ threads: 1, precise: false, sequences: 1, contextLength: 0 });
    try {
      const request = { op: 'parameters' };
      const reply = await engine.request(parametersSchema, request, benchLimits.startMs);
      const matrices = reply.ranks
        .flatMap(({ tensors }) => tensors)
        .filter(({ path, shape }) => shape.length === 2 && !/embed|lm_head/u.test(path));
      return {
        weightBytes: reply.ranks.reduce((sum, { bytes }) => sum + bytes, 0),
        multiplies: matrices.reduce((sum, { shape }) => sum + (shape[0] ?? 0) * (shape[1] ?? 0), 0),
      };
    } finally {
      await engine.close();
    }
  }

  async tokenize(text: string): Promise<number[]> {
    const engine = this.open({ threads: 1, precise: false, sequences: 1, contextLength: 0 });
    try {
      const schema = z.looseObject({ ids: z.array(z.number()) });
      const process = engine.request(
        schema,
        { model: undefined, op: 'tokenize', tokenizer: this.#settings.model, text, special: false },
        benchLimits.startMs,
      );
      return (await process).ids;
    } finally {
      await engine.close();
    }
  }

  /** Bytes for keys and values of one sequence of that many positions. */
  async cacheBytes(positions: number, precise: boolean): Promise<number> {
    const mode = precise ? ['--precise'] : [];
    const flags = ['--context', `${positions}`, '--json', ...mode];
    const { program, args, environment } = this.command('plan', [this.#settings.model, ...flags]);
    const { status, output } = await runCommand(program, args, {
      ...(environment === undefined ? {} : { environment }),
      outputMaxBytes: benchLimits.lineMaxBytes,
    });
    if (status !== 0) throw new CideryError('bench_process', `\`plan\` failed: ${output}`);
    const plan = planSchema.parse(JSON.parse(output));
    return plan.plans[0]?.memory.cacheBytes ?? 0;
  }
}
