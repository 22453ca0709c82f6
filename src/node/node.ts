import { CideryError, faultError } from '../base/error.ts';
import { limits } from '../base/limits.ts';
import type {
  GenerateOptions,
  GroupBackend,
  PromptInput,
  TextOperation,
  ToRank,
} from '../engine/protocol.ts';
import type { ModelManifest } from '../model/manifest.ts';
import type { Clock } from '../ports/clock.ts';
import type { RandomBytes } from '../ports/random.ts';
import type { RankSpawner } from '../ports/spawner.ts';
import { AheadSpawner } from './ahead-spawner.ts';
import type { ClusterState, ModelPlans, NewPlan } from './cluster-state.ts';
import { Deployments, type InstanceDefaults } from './deployments.ts';
import { type Generation, startGeneration } from './generation.ts';
import type { Instance } from './instance.ts';
import { LogBuffer } from './log-buffer.ts';
import type { ModelLibrary } from './model-library.ts';
import { planModel } from './plan-model.ts';
import { RankClient } from './rank-client.ts';
import { KnownAnswers } from './self-check.ts';
import { viewInstance } from './view-instance.ts';

/** Facts of the machine that do not change while the node runs, and those that do. */
export interface Machine {
  readonly nodeId: string;
  readonly name: string;
  readonly platform: string;
  readonly cores: number;
  readonly totalMemoryBytes: number;
  freeMemoryBytes(): number;
}

export interface NodeParts {
  readonly library: ModelLibrary;
  readonly spawner: RankSpawner;
  readonly clock: Clock;
  readonly machine: Machine;
  readonly defaults: InstanceDefaults;
  readonly version: string;
  readonly randomBytes: RandomBytes;
  /** A rank that shows no life for so long is lost. */
  readonly silenceMs: number;
  readonly groupBackend: GroupBackend;
  readonly randomId: () => string;
  /** Random 64 bits in decimal digits: the seed of a request that names none. */
  readonly randomSeed: () => string;
}

export interface GenerateRequest {
  readonly model: string;
  readonly input: PromptInput;
  readonly options: GenerateOptions;
}

/**
 * A node: its models, what is deployed, and the way of a request from a model's name to a rank. It
 * has no listeners; `api/` serves it, and `run` and `debug` use it as it is.
 */
export class CideryNode {
  readonly library: ModelLibrary;
  readonly deployments: Deployments;
  readonly logs: LogBuffer;
  /** Where the node serves its API; empty when it does not. */
  address = '';
  readonly #parts: NodeParts;
  readonly #spawner: AheadSpawner;
  readonly #startedMs: number;
  readonly #listeners = new Set<() => void>();
  #textRank: RankClient | null = null;

  constructor(parts: NodeParts) {
    this.#parts = parts;
    this.#spawner = new AheadSpawner(parts.spawner);
    this.#startedMs = parts.clock.monotonic();
    this.library = parts.library;
    this.logs = new LogBuffer(limits.logLinesKept, parts.clock);
    const { machine } = parts;
    this.deployments = new Deployments({
      ...parts,
      spawner: this.#spawner,
      cores: machine.cores,
      knownAnswers: new KnownAnswers(),
      freeMemoryBytes: () => machine.freeMemoryBytes(),
      onChange: () => this.#changed(),
      onLog: (line) => this.logs.add('rank', line),
    });
  }

  get version(): string {
    return this.#parts.version;
  }

  newSeed(): string {
    return this.#parts.randomSeed();
  }

  newId(): string {
    return this.#parts.randomId();
  }

  now(): number {
    return this.#parts.clock.now();
  }

  /** A model will be deployed in a moment: the process for it starts already. */
  expectModel(): void {
    this.#spawner.startAhead();
  }

  /**
   * Answers a prompt. Resolves when the rank has taken it in. Rejects with `model_not_found`,
   * `insufficient_memory`, `model_loading` (longer than limits.modelLoadWaitMs),
   * `too_many_requests`, `prompt_too_long`, a fault of the model, or the signal's reason.
   */
  async generate(request: GenerateRequest, signal: AbortSignal): Promise<Generation> {
    const instance = await this.ready(request.model, signal);
    return startGeneration(instance, this.newId(), request.input, request.options, signal);
  }

  /** The instance that answers for a model, when it is ready. */
  async ready(model: string, signal: AbortSignal): Promise<Instance> {
    const instance = await this.deployments.instanceFor(model);
    const waiting = new AbortController();
    const onAbort = () => waiting.abort(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    const stopTimer = this.#parts.clock.after(limits.modelLoadWaitMs, () =>
      waiting.abort(
        new CideryError('model_loading', `${instance.model} is still loading`, {
          hint: 'try again in a minute',
        }),
      ),
    );
    try {
      signal.throwIfAborted();
      await instance.ready(waiting.signal);
    } finally {
      stopTimer();
      signal.removeEventListener('abort', onAbort);
    }
    return instance;
  }

  /** Rows of logits into a file; see `debug`. */
  async logits(
    model: string,
    request: { ids: number[]; last: number; out: string },
    signal: AbortSignal,
  ): Promise<Record<string, unknown>> {
    const instance = await this.ready(model, signal);
    return replyOf(instance, { type: 'logits', id: this.newId(), ...request }, signal);
  }

  /**
   * Tokenizing, detokenizing, rendering: in a rank of its own, since no tokenizer or template runs
   * in this process.
   */
  async text(operation: TextOperation): Promise<Record<string, unknown>> {
    const rank = this.#textRank ?? this.#startTextRank();
    await rank.ready();
    return replyOf(rank, { type: 'text', id: this.newId(), operation }, null);
  }

  /** The manifest of a model on disk: what `debug parameters` reads. */
  async manifest(reference: string): Promise<ModelManifest> {
    return this.library.manifest(await this.library.resolve(reference));
  }

  /**
   * How a model on disk would run here if it were deployed so. Throws `model_not_found`,
   * `split_impossible`, `split_invalid`, `context_too_long`, and what the model's files throw.
   */
  async plans(wanted: NewPlan): Promise<ModelPlans> {
    const { defaults, machine } = this.#parts;
    const model = await this.library.resolve(wanted.model);
    const manifest = await this.library.manifest(model);
    return planModel(model.id, manifest, wanted, defaults, machine.freeMemoryBytes());
  }

  state(): ClusterState {
    const { machine, clock, version } = this.#parts;
    const { nodeId, name, platform, cores, totalMemoryBytes } = machine;
    const deployed = this.deployments.list();
    return {
      nodes: [
        {
          id: nodeId,
          name,
          address: this.address,
          state: 'up',
          version,
          platform,
          cores,
          memory: { totalBytes: totalMemoryBytes, freeBytes: machine.freeMemoryBytes() },
          uptimeMs: Math.round(clock.monotonic() - this.#startedMs),
        },
      ],
      links: [],
      deployments: deployed.map(({ view }) => view),
      instances: deployed.map((entry) => viewInstance(entry, nodeId)),
    };
  }

  /** Calls back after every change; returns the way to stop it. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async close(): Promise<void> {
    await Promise.all([this.deployments.stop(), this.#textRank?.close(), this.#spawner.close()]);
  }

  #startTextRank(): RankClient {
    const { clock, silenceMs } = this.#parts;
    const events = {
      onProgress: () => {},
      onPong: () => {},
      onLog: (line: string) => this.logs.add('rank', line),
    };
    const rank = new RankClient(this.#spawner, clock, events, silenceMs);
    this.#textRank = rank;
    void rank.lost.then(() => {
      if (this.#textRank === rank) this.#textRank = null;
    });
    return rank;
  }

  #changed(): void {
    for (const listener of this.#listeners) listener();
  }
}

/** The one answer to a request; the signal drops it. */
async function replyOf(
  to: Pick<RankClient, 'request' | 'cancel'>,
  message: Extract<ToRank, { id: string }>,
  signal: AbortSignal | null,
): Promise<Record<string, unknown>> {
  signal?.throwIfAborted();
  let onAbort = () => {};
  const reply = new Promise<Record<string, unknown>>((resolve, reject) => {
    onAbort = () => {
      to.cancel(message.id);
      reject(signal?.reason);
    };
    to.request(message, {
      onMessage: (answer) => {
        if (answer.type === 'reply') resolve(answer.value);
        else if (answer.type === 'error') reject(faultError(answer.fault));
        else reject(new CideryError('rank_protocol', `the rank answered with ${answer.type}`));
      },
      onLost: reject,
    });
  });
  signal?.addEventListener('abort', onAbort, { once: true });
  try {
    return await reply;
  } finally {
    signal?.removeEventListener('abort', onAbort);
  }
}
