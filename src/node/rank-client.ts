import { CideryError, errorMessage, faultError } from '../base/error.ts';
import { JsonLines, jsonLine } from '../base/lines.ts';
import { limits } from '../base/limits.ts';
import {
  type Address,
  type EngineSettings,
  type FromRank,
  fromRankSchema,
  type GroupPlace,
  type RequestMessage,
  type ToRank,
} from '../engine/protocol.ts';
import type { ModelManifest } from '../model/manifest.ts';
import type { Clock } from '../ports/clock.ts';
import { RankVitals } from './rank-vitals.ts';
import type { RankProcess, RankSpawner } from '../ports/spawner.ts';

export type Opened = Extract<FromRank, { type: 'opened' }>;
export type Pong = Extract<FromRank, { type: 'pong' }>;
export type LoadProgress = Extract<FromRank, { type: 'progress' }>;

/** What a rank tells about one request. */
export interface RequestListener {
  onMessage(message: RequestMessage): void;
  /** The rank is lost; no message follows. */
  onLost(error: CideryError): void;
}

export interface RankEvents {
  onProgress(progress: LoadProgress): void;
  onPong(pong: Pong): void;
  onLog(line: string): void;
}

/**
 * One rank as the daemon talks to it: messages parsed, silence, a stopped process and stuck steps
 * noticed, its end turned into one coded error for everybody who waits for it. A client that is
 * lost is never used again.
 */
export class RankClient {
  readonly pid: number;
  /** Resolves with the reason when the rank is gone; never rejects. */
  readonly lost: Promise<CideryError>;
  /** As `lost`, but as soon as it is known that the rank will go; never rejects. */
  readonly failing: Promise<CideryError>;
  /** The port at which a rank of a group waits for the others. */
  readonly listening: Promise<number>;
  readonly #process: RankProcess;
  readonly #clock: Clock;
  readonly #events: RankEvents;
  readonly #requests = new Map<string, RequestListener>();
  readonly #lines = new JsonLines(limits.rankLineMaxBytes);
  readonly #log: string[] = [];
  readonly #opening: {
    readonly resolve: (opened: Opened) => void;
    readonly reject: (error: CideryError) => void;
  }[] = [];
  readonly #vitals: RankVitals;
  readonly #hello = deferred<void>();
  readonly #listening = deferred<number>();
  readonly #failing = deferred<CideryError>();
  #resolveLost: (error: CideryError) => void = () => {};
  #lostError: CideryError | null = null;
  #fault: CideryError | null = null;
  #leaving = false;
  #pings = 0;
  #stopWatch: () => void = () => {};
  #stopEnding: () => void = () => {};

  /** @param stoppedMs a process that gives no sign of life for so long is stopped, and is ended */
  constructor(spawner: RankSpawner, clock: Clock, events: RankEvents, stoppedMs: number) {
    this.#clock = clock;
    this.#events = events;
    this.lost = new Promise((resolve) => (this.#resolveLost = resolve));
    this.failing = this.#failing.promise;
    this.listening = this.#listening.promise;
    this.#vitals = new RankVitals(stoppedMs, clock.monotonic());
    this.#process = spawner.spawn();
    this.pid = this.#process.pid;
    this.#process.onBytes((bytes) => this.#receive(bytes));
    this.#process.onSign(() => this.#vitals.sign());
    this.#process.onLog((line) => this.#keepLog(line));
    void this.#process.exited.then(({ code, signal }) =>
      this.#lose(
        new CideryError(
          'rank_lost',
          `the model's process ended ${signal === null ? `with status ${code}` : `by ${signal}`}`,
          { hint: this.#log.at(-1) ?? 'see `cidery logs`' },
        ),
      ),
    );
    this.#watch();
  }

  /**
   * Loads a model, or the rank's part of it; a rank of a group then waits for `connect`. Rejects
   * with the rank's fault, or `rank_lost`.
   */
  async open(
    manifest: ModelManifest,
    settings: EngineSettings,
    group: GroupPlace | null,
  ): Promise<Opened> {
    await this.#hello.promise;
    return new Promise((resolve, reject) => {
      if (this.#lostError !== null) return reject(this.#lostError);
      this.#opening.push({ resolve, reject });
      this.#send({ type: 'open', manifest, settings, group });
    });
  }

  /** Tells a rank of a group where the ranks listen, in rank order. */
  connect(addresses: Address[]): void {
    if (this.#lostError === null) this.#send({ type: 'peers', addresses });
  }

  /** Resolves when the process is up; a rank that only works on text needs no more. */
  async ready(): Promise<void> {
    await this.#hello.promise;
  }

  /**
   * Sends a request's first message; the listener hears of it until `done`, `reply` or `error`.
   * Throws `prompt_too_large` for one that is nested too deeply to be written as JSON.
   */
  request(message: Extract<ToRank, { id: string }>, listener: RequestListener): void {
    if (this.#lostError !== null) return listener.onLost(this.#lostError);
    const bytes = requestLine(message);
    this.#requests.set(message.id, listener);
    this.#sendBytes(bytes);
  }

  /** The request's listener hears nothing more, and the rank drops it within a step. */
  cancel(id: string): void {
    if (!this.#requests.delete(id) || this.#lostError !== null) return;
    this.#send({ type: 'cancel', id });
  }

  /** Asks the rank to leave, then makes it: resolves when the process is gone. */
  async close(): Promise<void> {
    this.#leaving = true;
    if (this.#lostError === null) this.#send({ type: 'close' });
    if (!(await this.#endsWithin(limits.rankLeaveMs))) {
      this.#process.kill('SIGTERM');
      if (!(await this.#endsWithin(limits.rankTerminateMs))) this.#process.kill('SIGKILL');
    }
    await this.#process.exited;
  }

  /** Ends the process now; the reason is what everybody who waits is told. */
  kill(reason: CideryError): void {
    this.#fail(reason);
    this.#process.kill('SIGKILL');
  }

  /** As `kill`, by SIGTERM first. */
  terminate(reason: CideryError): void {
    if (this.#lostError !== null) return;
    this.#fail(reason);
    this.#process.kill('SIGTERM');
    this.#killAfter(limits.rankTerminateMs);
  }

  #fail(reason: CideryError): void {
    this.#fault ??= reason;
    this.#failing.resolve(this.#fault);
  }

  #killAfter(ms: number): void {
    this.#stopEnding();
    this.#stopEnding = this.#clock.after(ms, () => this.#process.kill('SIGKILL'));
  }

  async #endsWithin(ms: number): Promise<boolean> {
    const stop = new AbortController();
    const ended = await Promise.race([
      this.#process.exited.then(() => true),
      this.#clock.sleep(ms, stop.signal).then(
        () => false,
        () => true,
      ),
    ]);
    stop.abort();
    return ended;
  }

  #send(message: ToRank): void {
    this.#sendBytes(jsonLine(message));
  }

  #sendBytes(bytes: Uint8Array): void {
    this.#process.send(bytes);
    if (this.#process.unsentBytes > limits.rankUnsentMaxBytes) {
      this.kill(new CideryError('rank_stuck', "the model's process does not read its requests"));
    }
  }

  #receive(bytes: Uint8Array): void {
    this.#vitals.heard();
    try {
      for (const value of this.#lines.push(bytes)) this.#handle(fromRankSchema.parse(value));
    } catch (cause) {
      const message = `the model's process sent something unreadable: ${errorMessage(cause)}`;
      this.kill(new CideryError('rank_protocol', message, { cause }));
    }
  }

  #handle(message: FromRank): void {
    switch (message.type) {
      case 'hello':
        this.#vitals.hello();
        return this.#hello.resolve();
      case 'progress':
        return this.#events.onProgress(message);
      case 'listening':
        return this.#listening.resolve(message.port);
      case 'opened':
        this.#vitals.opened();
        return this.#opening.shift()?.resolve(message);
      case 'failed':
        this.#fail(faultError(message.fault));
        // It leaves by itself; one that cannot is made to.
        return this.#killAfter(limits.rankLeaveMs);
      case 'pong':
        this.#vitals.pong(message);
        return this.#events.onPong(message);
      case 'started':
      case 'delta':
      case 'finished':
      case 'done':
      case 'error':
      case 'reply': {
        const listener = this.#requests.get(message.id);
        if (endsRequest(message)) this.#requests.delete(message.id);
        return listener?.onMessage(message);
      }
    }
  }

  /** Pings the rank and ends it when it is silent or its step does not end. */
  #watch(): void {
    this.#stopWatch = this.#clock.after(limits.rankPingMs, () => {
      this.#check();
      if (this.#lostError === null) this.#watch();
    });
  }

  #check(): void {
    const dead = this.#vitals.check(this.#clock.monotonic());
    if (dead !== null) this.kill(dead);
    else if (this.#vitals.isUp) this.#send({ type: 'ping', number: this.#pings++ });
  }

  #keepLog(line: string): void {
    this.#log.push(line);
    if (this.#log.length > limits.rankLogLines) this.#log.shift();
    this.#events.onLog(line);
  }

  #lose(ended: CideryError): void {
    if (this.#lostError !== null) return;
    const error =
      this.#fault ??
      (this.#leaving ? new CideryError('instance_stopped', 'the model was stopped') : ended);
    this.#lostError = error;
    this.#stopWatch();
    this.#stopEnding();
    this.#failing.resolve(error);
    this.#hello.reject(error);
    this.#listening.reject(error);
    for (const { reject } of this.#opening.splice(0)) reject(error);
    for (const listener of [...this.#requests.values()]) listener.onLost(error);
    this.#requests.clear();
    this.#resolveLost(error);
  }
}

function requestLine(message: ToRank): Uint8Array {
  try {
    return jsonLine(message);
  } catch (cause) {
    throw new CideryError('prompt_too_large', 'the request is nested too deeply', { cause });
  }
}

/** Whether a request is over with this message. */
export function endsRequest({ type }: RequestMessage): boolean {
  return type === 'done' || type === 'error' || type === 'reply';
}

interface Deferred<Value> {
  readonly promise: Promise<Value>;
  resolve(value: Value): void;
  reject(error: CideryError): void;
}

function deferred<Value>(): Deferred<Value> {
  let resolve: (value: Value) => void = () => {};
  let reject: (error: CideryError) => void = () => {};
  const promise = new Promise<Value>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  // Somebody may never wait for it.
  promise.catch(() => {});
  return { promise, resolve: (value) => resolve(value), reject: (error) => reject(error) };
}
