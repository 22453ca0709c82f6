import type { Clock } from '../../src/ports/clock.ts';
import { limits } from '../../src/base/limits.ts';
import type { ToRank } from '../../src/engine/protocol.ts';
import {
  checkReply,
  type FakeRank,
  listening,
  openedMessage,
  pong,
} from '../support/fake-ranks.ts';

export type Dice = (limit: number) => number;

/** What goes wrong with a rank, once in its life. */
const faults = ['killed', 'silent', 'stopped', 'garbage', 'failed', 'stuck'] as const;
type Fault = (typeof faults)[number];
/** No message of the daemon's moves it. */
const deaf: readonly (Fault | null)[] = ['silent', 'stopped'];
/** Between two signs of life. */
const signMs = 500;

interface Answer {
  readonly tokens: number;
  sent: number;
}

/**
 * Plays a rank over virtual time: opens after a while, answers several requests at once a token at
 * a time, and, with `faulty`, goes wrong in some way at some moment.
 */
export class SimulatedRank {
  /** Requests that the daemon has sent and that have neither ended nor been cancelled. */
  readonly active = new Map<string, Answer>();
  readonly rank: FakeRank;
  readonly #clock: Clock;
  readonly #dice: Dice;
  readonly #timers = new Set<() => void>();
  /** Of the group that it is in; empty: none. */
  key = '';
  /** Told what this rank has learned of the end of its group. */
  onEnd: (code: string) => void = () => {};
  #fault: Fault | null = null;
  #steps = 0;

  constructor(rank: FakeRank, clock: Clock, dice: Dice, faulty: boolean) {
    this.rank = rank;
    this.#clock = clock;
    this.#dice = dice;
    void rank.exited.then(() => {
      this.#stopTimers();
      this.onEnd('group_peer_lost');
    });
    if (faulty && dice(3) > 0) this.#after(dice(40_000), () => this.#goWrong());
    if (faulty) this.#giveSign();
    this.#after(dice(300), () => rank.say({ type: 'hello', protocol: 1, pid: rank.pid }));
  }

  receive(message: ToRank): void {
    if (deaf.includes(this.#fault)) return;
    switch (message.type) {
      case 'open':
        if (message.group === null) return this.#open();
        this.key = message.group.key;
        return this.#after(this.#dice(300), () => this.rank.say(listening(this.rank)));
      case 'peers':
        return this.#open();
      case 'check':
        return this.#after(this.#dice(50), () => this.rank.say(checkReply(message.id)));
      case 'generate':
        return this.#begin(
          message.id,
          message.options.maxTokens ?? 1,
          message.resume?.choices[0]?.ids.length ?? 0,
        );
      case 'cancel':
        this.active.delete(message.id);
        return;
      case 'ping':
        return this.rank.say(
          pong(message.number, { running: this.active.size, steps: this.#steps }),
        );
      case 'close':
        // One in eight has to be forced.
        if (this.#dice(8) > 0) this.rank.end({ code: 0, signal: null });
        return;
      case 'logits':
      case 'text':
        throw new Error(`the simulation sends no ${message.type}`);
    }
  }

  /** Another rank of its group has ended, or is not heard of. */
  endWith(code: string): void {
    if (this.#fault === 'stopped') return;
    this.#after(this.#dice(20), () => {
      this.rank.say({ type: 'failed', fault: { code, message: 'simulated', hint: null } });
      this.rank.end({ code: 1, signal: null });
    });
  }

  #giveSign(): void {
    this.rank.sign();
    this.#after(signMs, () => {
      if (this.#fault !== 'stopped') this.#giveSign();
    });
  }

  #open(): void {
    this.#after(this.#dice(3_000), () => this.rank.say(openedMessage));
  }

  #begin(id: string, tokens: number, sent: number): void {
    const answer: Answer = { tokens, sent };
    this.active.set(id, answer);
    this.#after(this.#dice(500), () => {
      if (!this.active.has(id)) return;
      this.rank.say({ type: 'started', id, promptIds: [1] });
      this.#token(id, answer);
    });
  }

  #token(id: string, answer: Answer): void {
    if (!this.active.has(id) || deaf.includes(this.#fault) || this.#fault === 'stuck') return;
    this.#steps += 1;
    // Long answers come in bursts, so that a slow reader falls behind.
    const burst = answer.tokens > 1_000 ? 1_000 : 1;
    for (let i = 0; i < burst && answer.sent < answer.tokens; i++) {
      const ids = [answer.sent++];
      this.rank.say({ type: 'delta', id, choice: 0, ids, text: '', logprobs: [] });
    }
    if (answer.sent < answer.tokens) {
      this.#after(1 + this.#dice(200), () => this.#token(id, answer));
      return;
    }
    this.active.delete(id);
    this.rank.say(
      { type: 'finished', id, choice: 0, reason: 'length', stop: null },
      {
        type: 'done',
        id,
        usage: { promptTokens: 1, cachedTokens: 0, generatedTokens: answer.tokens },
        timings: { queueMs: 0, promptMs: 0, generateMs: 0 },
      },
    );
  }

  #goWrong(): void {
    this.#fault = faults[this.#dice(faults.length)] ?? 'killed';
    switch (this.#fault) {
      case 'killed':
        return this.rank.end({ code: null, signal: 'SIGKILL' });
      case 'garbage':
        return this.rank.sayBytes(new TextEncoder().encode('{"type":\n'));
      case 'failed':
        this.rank.say({
          type: 'failed',
          fault: { code: 'out_of_memory', message: 'simulated', hint: null },
        });
        if (this.#dice(2) > 0) this.rank.end({ code: 1, signal: null });
        return;
      case 'stopped':
        this.rank.stubborn = true;
        return this.#after(limits.rankStoppedMs, () => this.onEnd('group_silent'));
      case 'silent':
      case 'stuck':
    }
  }

  #after(ms: number, callback: () => void): void {
    const stop = this.#clock.after(ms, () => {
      this.#timers.delete(stop);
      callback();
    });
    this.#timers.add(stop);
  }

  #stopTimers(): void {
    for (const stop of this.#timers) stop();
    this.#timers.clear();
  }
}
