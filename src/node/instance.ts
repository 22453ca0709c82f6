import { CideryError, errorMessage, invariant } from '../base/error.ts';
import type { InstanceId, ModelId } from '../base/ids.ts';
import { limits } from '../base/limits.ts';
import { Rate } from '../base/rate.ts';
import type { EngineSettings, ToRank } from '../engine/protocol.ts';
import type { ModelManifest } from '../model/manifest.ts';
import type { Clock } from '../ports/clock.ts';
import type { RankSpawner } from '../ports/spawner.ts';
import { Admission } from './admission.ts';
import { type Opened, type Pong, RankClient, type RequestListener } from './rank-client.ts';

export type InstanceState =
  | { readonly kind: 'starting'; readonly doneBytes: number; readonly totalBytes: number }
  | { readonly kind: 'ready'; readonly opened: Opened }
  | { readonly kind: 'failed'; readonly error: CideryError }
  | { readonly kind: 'stopped' };

export interface InstanceParts {
  readonly spawner: RankSpawner;
  readonly clock: Clock;
  /** Called after every change of what the instance shows. */
  readonly onChange: () => void;
  readonly onLog: (line: string) => void;
}

/**
 * A model that is being run: one rank for now. When its rank is lost a fresh one is started, and
 * every request is told, so that it can go on there; an instance whose ranks are lost again and
 * again before they have brought anything is given up.
 */
export class Instance {
  readonly id: InstanceId;
  readonly model: ModelId;
  readonly settings: EngineSettings;
  readonly admission = new Admission();
  readonly #manifest: ModelManifest;
  readonly #parts: InstanceParts;
  #state: InstanceState = { kind: 'starting', doneBytes: 0, totalBytes: 0 };
  #rank: RankClient | null = null;
  #pong: Pong | null = null;
  #rate = new Rate(limits.speedWindowMs);
  /** Ids of the requests that the rank has and that have not ended. */
  readonly #requests = new Set<string>();
  readonly #stopping = new AbortController();
  #awaiting = 0;
  #starts = 0;
  /** The rank has brought something to somebody. */
  #proved = false;
  readonly #waiters = new Set<() => void>();

  constructor(
    id: InstanceId,
    manifest: ModelManifest,
    model: ModelId,
    settings: EngineSettings,
    parts: InstanceParts,
  ) {
    this.id = id;
    this.model = model;
    this.settings = settings;
    this.#manifest = manifest;
    this.#parts = parts;
    void this.#run();
  }

  get state(): InstanceState {
    return this.#state;
  }

  get pid(): number | null {
    return this.#rank?.pid ?? null;
  }

  /** The rank's last report of itself. */
  get report(): Pong | null {
    return this.#pong;
  }

  /** Tokens generated a second over the last seconds. */
  get tokensPerS(): number {
    return this.#rate.perSecond();
  }

  get requests(): number {
    return this.#requests.size;
  }

  /** Nobody has a request here or waits for the model to load. */
  get idle(): boolean {
    return this.#requests.size === 0 && this.#awaiting === 0;
  }

  /**
   * Resolves when the instance is ready; rejects when it has failed or was stopped, or by the
   * signal.
   */
  async ready(signal: AbortSignal): Promise<Opened> {
    this.#awaiting += 1;
    try {
      for (;;) {
        signal.throwIfAborted();
        const state = this.#state;
        if (state.kind === 'ready') return state.opened;
        if (state.kind === 'failed') throw state.error;
        if (state.kind === 'stopped') throw stoppedError(this.model);
        await this.#nextChange(signal);
      }
    } finally {
      this.#awaiting -= 1;
    }
  }

  /**
   * Sends a request to the ready rank; `again`: one that a rank has had before, which is not
   * refused for those that came after it. Throws `instance_not_ready`, `too_many_requests`,
   * `prompt_too_large`.
   */
  request(
    message: Extract<ToRank, { id: string }>,
    listener: RequestListener,
    again = false,
  ): void {
    const rank = this.#rank;
    if (rank === null || this.#state.kind !== 'ready') {
      throw new CideryError('instance_not_ready', `${this.model} is not ready`);
    }
    const { size } = this.#requests;
    if (size >= limits.requestsPerModelMax && !again) {
      throw new CideryError('too_many_requests', `${this.model} has ${size} requests`, {
        hint: 'try again later',
      });
    }
    const { id } = message;
    invariant(!this.#requests.has(id), 'a request has an id of its own');
    this.#requests.add(id);
    try {
      rank.request(message, {
        onMessage: (answer) => {
          this.#proved = true;
          if (answer.type === 'done' || answer.type === 'error' || answer.type === 'reply') {
            this.#requests.delete(id);
          }
          listener.onMessage(answer);
        },
        onLost: (error) => {
          this.#requests.delete(id);
          // From here on nothing is ready, whoever is told first.
          if (this.#state.kind === 'ready') this.#set(notReady);
          listener.onLost(error);
        },
      });
    } catch (error) {
      this.#requests.delete(id);
      throw error;
    }
  }

  /** Drops a request; its listener hears nothing more. One that has ended already is left alone. */
  cancel(id: string): void {
    if (this.#requests.delete(id)) this.#rank?.cancel(id);
  }

  async stop(): Promise<void> {
    this.#set({ kind: 'stopped' });
    this.#stopping.abort();
    await this.#rank?.close();
  }

  /** Starts ranks until one stays, the instance is stopped, or too many were lost in a row. */
  async #run(): Promise<void> {
    const { clock } = this.#parts;
    while (this.#state.kind === 'starting') {
      this.#starts += 1;
      const error = await this.#attempt();
      // Not the caller's doing: it is either stopped or starts anew.
      if (this.#current().kind === 'stopped') return;
      if (this.#starts >= limits.instanceStartsMax || isFinal(error)) {
        this.#set({ kind: 'failed', error });
        return;
      }
      this.#set(notReady);
      await clock.sleep(limits.instanceRestartDelayMs, this.#stopping.signal).catch(() => {
        // Stopped meanwhile: the loop ends.
      });
    }
  }

  /** One rank from its start to its end. */
  async #attempt(): Promise<CideryError> {
    const { spawner, clock, onLog } = this.#parts;
    try {
      this.#rank = new RankClient(spawner, clock, {
        onProgress: ({ doneBytes, totalBytes }) => {
          if (this.#state.kind === 'starting')
            this.#set({ kind: 'starting', doneBytes, totalBytes });
        },
        onPong: (pong) => {
          this.#pong = pong;
          this.#rate.add(clock.monotonic(), pong.generatedTokens);
        },
        onLog,
      });
    } catch (cause) {
      if (cause instanceof CideryError) return cause;
      const message = `no process could be started: ${errorMessage(cause)}`;
      return new CideryError('rank_start_failed', message, { cause });
    }
    return this.#serve(this.#rank);
  }

  /** Opens the model in the rank and waits for the rank's end. */
  async #serve(rank: RankClient): Promise<CideryError> {
    try {
      const opened = await rank.open(this.#manifest, this.settings);
      if (this.#state.kind === 'stopped') await rank.close();
      else {
        this.#proved = false;
        this.#set({ kind: 'ready', opened });
      }
    } catch {
      // The rank ends by itself after a fault; `lost` says why.
    }
    const readyAtMs = this.#parts.clock.monotonic();
    const error = await rank.lost;
    const stayedMs = this.#parts.clock.monotonic() - readyAtMs;
    if (this.#proved || stayedMs >= limits.instanceProvenMs) this.#starts = 0;
    this.#pong = null;
    this.#rate = new Rate(limits.speedWindowMs);
    return error;
  }

  #current(): InstanceState {
    return this.#state;
  }

  #set(state: InstanceState): void {
    if (this.#state.kind === 'stopped') return;
    this.#state = state;
    const woken = [...this.#waiters];
    this.#waiters.clear();
    for (const wake of woken) wake();
    this.#parts.onChange();
  }

  #nextChange(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const wake = () => {
        signal.removeEventListener('abort', onAbort);
        resolve();
      };
      const onAbort = () => {
        this.#waiters.delete(wake);
        reject(signal.reason);
      };
      signal.addEventListener('abort', onAbort, { once: true });
      this.#waiters.add(wake);
    });
  }
}

const notReady: InstanceState = { kind: 'starting', doneBytes: 0, totalBytes: 0 };

/**
 * Faults that a fresh attempt meets again: the model itself is wrong, or this build cannot run it.
 */
const finalCodes = new Set([
  'model_unsupported',
  'model_config_invalid',
  'model_file_broken',
  'model_file_missing',
  'model_file_unreadable',
  'parameter_missing',
  'parameter_unexpected',
  'parameter_shape_mismatch',
  'parameter_mismatch',
  'program_invalid',
  'tokenizer_missing',
  'tokenizer_invalid',
  'addon_missing',
  'addon_unusable',
  'addon_mismatch',
  'executor_unavailable',
  'device_unavailable',
  'insufficient_memory',
]);

function isFinal(error: CideryError): boolean {
  return finalCodes.has(error.code);
}

function stoppedError(model: ModelId): CideryError {
  return new CideryError('instance_stopped', `${model} was stopped`);
}
