import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { modelId } from '../../src/base/ids.ts';
import type { EngineHandle, EngineOptions, ListenerHandle } from '../../src/engine/addon.ts';
import { parameterSources } from '../../src/engine/parameter-sources.ts';
import type { GroupBackend } from '../../src/engine/protocol.ts';
import {
  decodeResult,
  encodePlan,
  type PlannedSequence,
  type StepPlan,
  type StepResult,
} from '../../src/engine/step-plan.ts';
import type { ModelManifest } from '../../src/model/manifest.ts';
import { buildModel } from '../../src/model/model.ts';
import { encodeProgram } from '../../src/model/program-encoding.ts';
import type { SplitKind } from '../../src/model/split/plan.ts';
import { realDisk } from '../../src/platform/real-disk.ts';
import { readManifest } from '../../src/store/read-manifest.ts';
import type { RankProcess } from './rank-process.ts';

const tinyModels = join(import.meta.dirname, '../golden/models');

export function tinyManifest(name: string): Promise<ModelManifest> {
  const path = join(tinyModels, name);
  return readManifest(realDisk, { id: modelId(name), kind: 'safetensors', path }, '/none');
}

export interface TeamOptions {
  readonly executor: EngineOptions['executor'];
  readonly precise: boolean;
  readonly split: SplitKind;
  readonly shares?: readonly number[];
  /** Options of an engine that are not those of every test. */
  readonly changes?: (rank: number) => Partial<EngineOptions>;
  readonly backend?: GroupBackend;
  readonly key?: (rank: number) => Uint8Array;
  readonly silenceMs?: number;
  readonly connectMs?: number;
  /** Called when every rank listens. */
  readonly listening?: (ports: readonly number[]) => void;
}

/** Engines of one model in several processes, one alone or a group of them. */
export class RankTeam {
  readonly #processes: readonly RankProcess[];
  readonly #engines: readonly EngineHandle[];
  #number = 0;

  private constructor(processes: readonly RankProcess[], engines: readonly EngineHandle[]) {
    this.#processes = processes;
    this.#engines = engines;
  }

  /** Loads the model's parts, joins and binds. Rejects with the first error of a rank. */
  static async open(
    processes: readonly RankProcess[],
    manifest: ModelManifest,
    options: TeamOptions,
  ): Promise<RankTeam> {
    const ranks = processes.length;
    const { precise, split: kind, shares = null } = options;
    const models = processes.map((_, rank) =>
      buildModel(manifest, { precise, split: { kind, rank, ranks, shares } }),
    );
    const engines = await Promise.all(
      processes.map(async (process, rank) => {
        const model = models[rank];
        if (model === undefined) throw new Error('a rank without a model');
        const engine = await process.call('openEngine', {
          program: encodeProgram(model.program),
          executor: options.executor,
          gpu: false,
          precise,
          slots: 8,
          positions: 256,
          cachePositions: 0,
          threads: 1,
          files: manifest.files.map(({ path }) => path),
          ...options.changes?.(rank),
        });
        const sources = parameterSources(model).map(({ source }) => source);
        await process.call('loadParameters', engine, sources);
        return engine;
      }),
    );
    const team = new RankTeam(processes, engines);
    if (ranks > 1) await team.#join(options);
    await team.#each((process, engine) => process.call('bind', engine));
    return team;
  }

  async #join(options: TeamOptions): Promise<void> {
    const { backend = 'tcp', silenceMs = 3_000, connectMs = 10_000 } = options;
    const listeners = await Promise.all(
      this.#processes.map((process) => process.call('listenGroup', '127.0.0.1')),
    );
    options.listening?.(listeners.map(({ port }) => port));
    const addresses = listeners.map(({ port }) => ({ host: '127.0.0.1', port }));
    const key = randomBytes(32);
    await this.#each((process, engine, rank) => {
      const own = options.key?.(rank) ?? key;
      const group = { rank, addresses, backend, key: own, connectMs, silenceMs };
      const handle: ListenerHandle | undefined = listeners[rank]?.handle;
      if (handle === undefined) throw new Error('a rank without a listener');
      return process.call('joinGroup', engine, handle, { ...group, waitMs: 60_000 });
    });
  }

  engine(rank: number): EngineHandle {
    const engine = this.#engines[rank];
    if (engine === undefined) throw new Error(`there is no rank ${rank}`);
    return engine;
  }

  /** Of every rank above 0: settles when it has followed to the end. */
  follow(): Promise<void>[] {
    return this.#processes.slice(1).map((process, at) => {
      const followed = process.call('follow', this.engine(at + 1));
      // A test that ends its processes does not wait for it.
      followed.catch(() => undefined);
      return followed;
    });
  }

  async step(
    sequences: readonly PlannedSequence[],
    changes: Partial<StepPlan> = {},
  ): Promise<StepResult> {
    this.#number += 1;
    const plan = { number: this.#number, retired: [], copies: [], sequences, ...changes };
    return decodeResult(await this.#leader.call('step', this.engine(0), encodePlan(plan)));
  }

  /** Closes rank 0, then the others when they have followed to the end. */
  async close(followed: readonly Promise<void>[]): Promise<void> {
    await this.#leader.call('closeEngine', this.engine(0));
    await Promise.all(followed);
    await this.#each(async (process, own, rank) => {
      if (rank > 0) await process.call('closeEngine', own);
    });
  }

  get #leader(): RankProcess {
    const [leader] = this.#processes;
    if (leader === undefined) throw new Error('a team of no processes');
    return leader;
  }

  async #each(
    work: (process: RankProcess, engine: EngineHandle, rank: number) => Promise<void>,
  ): Promise<void> {
    await Promise.all(
      this.#processes.map((process, rank) => work(process, this.engine(rank), rank)),
    );
  }
}
