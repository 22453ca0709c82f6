import { CideryError, errorMessage, invariant } from '../base/error.ts';
import type { InstanceId, ModelId } from '../base/ids.ts';
import { limits } from '../base/limits.ts';
import { Rate } from '../base/rate.ts';
import type { EngineSettings, ToRank } from '../engine/protocol.ts';
import type { ModelManifest } from '../model/manifest.ts';
import { Admission } from './admission.ts';
import type { RankMemory } from './cluster-state.ts';
import { isFinal, isOfAnyRanks } from './final-faults.ts';
import { endsRequest, type Opened, type Pong, type RequestListener } from './rank-client.ts';
import { predictedMemory } from './predicted-memory.ts';
import { type Member, RankGroup, type RankGroupParts } from './rank-group.ts';
import { type RankPlan, threadsPerRank } from './rank-plan.ts';
import type { KnownAnswers } from './self-check.ts';

export type InstanceState =
  | { readonly kind: 'starting'; readonly doneBytes: number; readonly totalBytes: number }
  | { readonly kind: 'ready'; readonly opened: Opened }
  | { readonly kind: 'failed'; readonly error: CideryError }
  | { readonly kind: 'stopped' };

const notReady: InstanceState = { kind: 'starting', doneBytes: 0, totalBytes: 0 };

/** What is run. */
export interface Runnable {
  readonly id: InstanceId;
  readonly model: ModelId;
  /** Tells the model's files from others that bore its name before. */
  readonly version: string;
  readonly manifest: ModelManifest;
  /** 0 threads: the ranks share the cores. */
  readonly settings: EngineSettings;
  readonly plan: RankPlan;
}

export interface InstanceParts extends RankGroupParts {
  readonly cores: number;
  readonly knownAnswers: KnownAnswers;
  /** Called after every change of what the instance shows. */
  readonly onChange: () => void;
}

/**
 * A model that is being run, in one rank or in several that live and die together. When they are
 * lost fresh ones are started, and every request is told, so that it can go on there. Ranks that
 * are lost again and again before they have brought anything are tried in smaller numbers, and in
 * the end the instance is given up.
 */
export class Instance {
  readonly id: InstanceId;
  readonly model: ModelId;
  readonly settings: EngineSettings;
  readonly admission = new Admission();
  readonly #runnable: Runnable;
  readonly #parts: InstanceParts;
  /** A plan for fewer ranks that this machine can run; null: there is none. */
  readonly #fewer: (plan: RankPlan) => RankPlan | null;
  #plan: RankPlan;
  #predicted: readonly RankMemory[];
  #state: InstanceState = notReady;
  #group: RankGroup | null = null;
  #pong: Pong | null = null;
  #rate = new Rate(limits.speedWindowMs);
  /** Ids of the requests that the ranks have and that have not ended. */
  readonly #requests = new Set<string>();
  readonly #stopping = new AbortController();
  #awaiting = 0;
  #starts = 0;
  /** The ranks have brought something to somebody. */
  #proved = false;
  readonly #waiters = new Set<() => void>();

  constructor(
    runnable: Runnable,
    parts: InstanceParts,
    fewer: (plan: RankPlan) => RankPlan | null,
  ) {
    this.id = runnable.id;
    this.model = runnable.model;
    this.settings = runnable.settings;
    this.#runnable = runnable;
    this.#plan = runnable.plan;
    this.#predicted = predictedMemory(runnable.plan, runnable.settings);
    this.#parts = parts;
    this.#fewer = fewer;
    void this.#run();
  }

  get state(): InstanceState {
    return this.#state;
  }

  /** How it is run now. */
  get plan(): RankPlan {
    return this.#plan;
  }

  /** What each rank of the plan takes. */
  get predicted(): readonly RankMemory[] {
    return this.#predicted;
  }

  /** The ranks of this attempt, in rank order. */
  get members(): readonly Member[] {
    return this.#group?.members ?? [];
  }

  /** The first rank's last report of itself. */
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
   * Sends a request to the ready ranks; `again`: one that ranks have had before, which is not
   * refused for those that came after it. Throws `instance_not_ready`, `too_many_requests`,
   * `prompt_too_large`.
   */
  request(
    message: Extract<ToRank, { id: string }>,
    listener: RequestListener,
    again = false,
  ): void {
    const group = this.#group;
    if (group === null || this.#state.kind !== 'ready') {
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
      group.request(message, {
        onMessage: (answer) => {
          this.#proved = true;
          if (endsRequest(answer)) this.#requests.delete(id);
          listener.onMessage(answer);
        },
        onLost: (error) => {
          this.#requests.delete(id);
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
    if (this.#requests.delete(id)) this.#group?.cancel(id);
  }

  async stop(): Promise<void> {
    this.#set({ kind: 'stopped' });
    this.#stopping.abort();
    await this.#group?.close();
  }

  /** Starts ranks until some stay, the instance is stopped, or too many were lost in a row. */
  async #run(): Promise<void> {
    const { clock, knownAnswers } = this.#parts;
    while (this.#state.kind === 'starting') {
      this.#starts += 1;
      const error = await this.#attempt();
      // Not the caller's doing: it is either stopped or starts anew.
      if (this.#current().kind === 'stopped') return;
      if (this.#isHopeless(error) && !this.#tryFewer(error)) {
        if (error.code === 'selftest_failed') knownAnswers.forget(this.model);
        this.#set({ kind: 'failed', error });
        return;
      }
      this.#set(notReady);
      // What ran well until now is back as soon as can be.
      if (this.#starts === 0) continue;
      await clock.sleep(limits.instanceRestartDelayMs, this.#stopping.signal).catch(() => {
        // Stopped meanwhile: the loop ends.
      });
    }
  }

  #isHopeless({ code }: CideryError): boolean {
    const { ranks } = this.#plan;
    const most = ranks === 1 ? limits.instanceStartsMax : limits.groupStartsMax;
    return this.#starts >= most || isFinal(code, ranks);
  }

  /** True when fewer ranks may do what these could not. */
  #tryFewer(error: CideryError): boolean {
    if (this.#plan.ranks === 1 || isOfAnyRanks(error.code)) return false;
    const fewer = this.#fewer(this.#plan);
    if (fewer === null) return false;
    const what = `${this.#plan.ranks} ranks do not start (${error.code})`;
    this.#parts.onLog(`${this.model}: ${what}; trying ${fewer.ranks}`);
    this.#plan = fewer;
    this.#predicted = predictedMemory(fewer, this.settings);
    this.#starts = 0;
    return true;
  }

  /** One group of ranks from its start to its end. */
  async #attempt(): Promise<CideryError> {
    const { clock } = this.#parts;
    const group = new RankGroup(this.#plan, this.#parts, {
      onProgress: (doneBytes, totalBytes) => {
        if (this.#state.kind === 'starting') this.#set({ kind: 'starting', doneBytes, totalBytes });
      },
      onPong: (pong) => {
        this.#pong = pong;
        this.#rate.add(clock.monotonic(), pong.generatedTokens);
      },
      // From here on nothing is ready, whoever is told first.
      onFailing: () => {
        if (this.#state.kind === 'ready') this.#set(notReady);
      },
    });
    this.#group = group;
    await this.#open(group);
    const readyAtMs = clock.monotonic();
    const error = await group.lost;
    const stayedMs = clock.monotonic() - readyAtMs;
    if (this.#proved || stayedMs >= limits.instanceProvenMs) this.#starts = 0;
    this.#pong = null;
    this.#rate = new Rate(limits.speedWindowMs);
    return error;
  }

  /** Opens the model in the ranks and lets them answer what is known. */
  async #open(group: RankGroup): Promise<void> {
    const { manifest, settings, model, version } = this.#runnable;
    const plan = this.#plan;
    const threads = threadsPerRank(settings.threads, this.#parts.cores, plan.ranks);
    this.#proved = false;
    try {
      const opened = await group.open(manifest, { ...settings, threads });
      const checked = { model, version, settings, plan };
      await this.#parts.knownAnswers.check(group, checked, opened);
      if (this.#state.kind === 'stopped') await group.close();
      else this.#set({ kind: 'ready', opened });
    } catch (error) {
      // A rank that is lost is known already, and the first reason counts.
      group.end(asCoded(error));
    }
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

function asCoded(error: unknown): CideryError {
  if (error instanceof CideryError) return error;
  return new CideryError('internal', `bug in cidery: ${errorMessage(error)}`, { cause: error });
}

function stoppedError(model: ModelId): CideryError {
  return new CideryError('instance_stopped', `${model} was stopped`);
}
