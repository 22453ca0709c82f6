import { CideryError, errorMessage } from '../base/error.ts';
import { limits } from '../base/limits.ts';
import type { EngineSettings, GroupBackend, GroupPlace, ToRank } from '../engine/protocol.ts';
import type { ModelManifest } from '../model/manifest.ts';
import type { Clock } from '../ports/clock.ts';
import type { RandomBytes } from '../ports/random.ts';
import type { RankSpawner } from '../ports/spawner.ts';
import {
  endsRequest,
  type Opened,
  type Pong,
  RankClient,
  type RequestListener,
} from './rank-client.ts';
import type { RankPlan } from './rank-plan.ts';

export interface RankGroupParts {
  readonly spawner: RankSpawner;
  readonly clock: Clock;
  readonly randomBytes: RandomBytes;
  /** A rank of which nothing is heard for so long is lost. */
  readonly silenceMs: number;
  readonly groupBackend: GroupBackend;
  readonly onLog: (line: string) => void;
}

export interface RankGroupEvents {
  /** Of all ranks together. */
  onProgress(doneBytes: number, totalBytes: number): void;
  /** The first rank, which the requests go to, reports. */
  onPong(pong: Pong): void;
  /** Nothing that is asked from here on is answered. */
  onFailing(): void;
}

/** A rank as it is shown. */
export interface Member {
  readonly pid: number;
  readonly state: 'starting' | 'ready' | 'lost';
  readonly report: Pong | null;
  readonly opened: Opened | null;
}

interface Seat {
  readonly client: RankClient;
  doneBytes: number;
  totalBytes: number;
  report: Pong | null;
  opened: Opened | null;
  failing: boolean;
}

/** Every rank runs on this machine. */
const host = '127.0.0.1';

/**
 * What a rank says when another is lost: whoever is to blame is known a moment later, if at all.
 */
const effects = new Set(['group_peer_lost', 'group_silent', 'group_connect_failed']);

/**
 * One attempt to run a model: its ranks, all fresh. They live and die together: when one is lost
 * the others are ended, and the first cause is the reason for all. Requests go to the first rank.
 */
export class RankGroup {
  /** Resolves with the reason when every rank is gone; never rejects. */
  readonly lost: Promise<CideryError>;
  readonly #plan: RankPlan;
  readonly #parts: RankGroupParts;
  readonly #events: RankGroupEvents;
  readonly #seats: Seat[] = [];
  readonly #requests = new Set<string>();
  #cause: CideryError | null = null;
  #closing = false;
  #ending = false;
  #stopWaiting: () => void = () => {};

  /** Starts the processes; a system that has none to give is the reason of a group that is lost. */
  constructor(plan: RankPlan, parts: RankGroupParts, events: RankGroupEvents) {
    this.#plan = plan;
    this.#parts = parts;
    this.#events = events;
    try {
      while (this.#seats.length < plan.ranks) this.#seats.push(this.#start(this.#seats.length));
    } catch (cause) {
      this.#onFailing(startError(cause));
    }
    this.lost = Promise.all(this.#seats.map(({ client }) => client.lost)).then(() => {
      this.#stopWaiting();
      return this.#reason();
    });
  }

  get members(): readonly Member[] {
    return this.#seats.map(({ client, failing, report, opened }) => ({
      pid: client.pid,
      state: failing ? 'lost' : opened === null ? 'starting' : 'ready',
      report,
      opened,
    }));
  }

  /** Loads the model. Rejects when a rank is lost over it; `lost` says why. */
  async open(manifest: ModelManifest, settings: EngineSettings): Promise<Opened> {
    const places = this.#places();
    const opening = this.#seats.map(async (seat, rank) => {
      const opened = await seat.client.open(manifest, settings, places[rank] ?? null);
      // What it reported while it loaded is older.
      Object.assign(seat, { opened, report: null });
      return opened;
    });
    if (places.length > 0) void this.#introduce();
    const [first] = await Promise.all(opening);
    if (first === undefined || this.#cause !== null) throw this.#reason();
    return first;
  }

  /** As a rank's: the listener is told of the loss when every rank is gone. */
  request(message: Extract<ToRank, { id: string }>, listener: RequestListener): void {
    const { id } = message;
    const onLost = () =>
      void this.lost.then((error) => {
        if (this.#requests.delete(id)) listener.onLost(error);
      });
    this.#requests.add(id);
    const first = this.#seats[0];
    if (first === undefined) return onLost();
    try {
      first.client.request(message, {
        onMessage: (answer) => {
          if (endsRequest(answer)) this.#requests.delete(id);
          listener.onMessage(answer);
        },
        onLost,
      });
    } catch (error) {
      this.#requests.delete(id);
      throw error;
    }
  }

  /** The request's listener hears nothing more. */
  cancel(id: string): void {
    if (this.#requests.delete(id)) this.#seats[0]?.client.cancel(id);
  }

  /** Asks all ranks to leave, then makes them: resolves when they are gone. */
  async close(): Promise<void> {
    this.#closing = true;
    this.#stopWaiting();
    await Promise.all(this.#seats.map(({ client }) => client.close()));
  }

  /** Ends all ranks for this reason. */
  end(reason: CideryError): void {
    this.#onFailing(reason);
  }

  #start(rank: number): Seat {
    const { spawner, clock, silenceMs, onLog } = this.#parts;
    const client = new RankClient(
      spawner,
      clock,
      {
        onProgress: ({ doneBytes, totalBytes }) => {
          Object.assign(seat, { doneBytes, totalBytes });
          this.#tellProgress();
        },
        onPong: (pong) => {
          seat.report = pong;
          if (rank === 0) this.#events.onPong(pong);
        },
        onLog: (line) => onLog(this.#plan.ranks === 1 ? line : `rank ${rank}: ${line}`),
      },
      silenceMs,
    );
    const seat: Seat = {
      client,
      doneBytes: 0,
      totalBytes: 0,
      report: null,
      opened: null,
      failing: false,
    };
    void client.failing.then((error) => {
      seat.failing = true;
      this.#onFailing(error);
    });
    return seat;
  }

  /** Empty for a rank on its own. */
  #places(): GroupPlace[] {
    const { kind, ranks } = this.#plan;
    if (kind === 'single') return [];
    const key = Buffer.from(this.#parts.randomBytes(32)).toString('base64');
    const { silenceMs, groupBackend: backend, onLog } = this.#parts;
    if (backend !== 'tcp') onLog(`these ranks talk in the clear, with anybody: ${backend}`);
    return this.#seats.map((_, rank) => ({
      rank,
      ranks,
      split: kind,
      shares: null,
      backend,
      key,
      host,
      silenceMs,
    }));
  }

  /** Tells every rank where the others listen, once all do. */
  async #introduce(): Promise<void> {
    try {
      const ports = await Promise.all(this.#seats.map(({ client }) => client.listening));
      const addresses = ports.map((port) => ({ host, port }));
      for (const { client } of this.#seats) client.connect(addresses);
    } catch {
      // A rank is lost: everybody is told of that elsewhere.
    }
  }

  #tellProgress(): void {
    if (this.#seats.some(({ totalBytes }) => totalBytes === 0)) return;
    const sum = (key: 'doneBytes' | 'totalBytes') =>
      this.#seats.reduce((bytes, seat) => bytes + seat[key], 0);
    this.#events.onProgress(sum('doneBytes'), sum('totalBytes'));
  }

  #onFailing(error: CideryError): void {
    if (this.#closing || this.#ending) return;
    const isFirst = this.#cause === null;
    if (this.#cause === null || !effects.has(error.code)) this.#cause = error;
    if (isFirst) this.#events.onFailing();
    if (!effects.has(error.code)) this.#endAll();
    else if (isFirst) {
      const { clock } = this.#parts;
      this.#stopWaiting = clock.after(limits.groupCauseMs, () => this.#endAll());
    }
  }

  #endAll(): void {
    this.#ending = true;
    this.#stopWaiting();
    const reason = this.#reason();
    for (const { client, failing } of this.#seats) if (!failing) client.terminate(reason);
  }

  #reason(): CideryError {
    if (this.#cause !== null) return this.#cause;
    return new CideryError('instance_stopped', 'the model was stopped');
  }
}

function startError(cause: unknown): CideryError {
  if (cause instanceof CideryError) return cause;
  const message = `no process could be started: ${errorMessage(cause)}`;
  return new CideryError('rank_start_failed', message, { cause });
}
