import { setTimeout as sleep } from 'node:timers/promises';
import { JsonLines, jsonLine } from '../../src/base/lines.ts';
import {
  type FromRank,
  type PromptInput,
  type ToRank,
  toRankSchema,
} from '../../src/engine/protocol.ts';
import type { ProcessExit, RankProcess, RankSpawner } from '../../src/ports/spawner.ts';

export interface RankScript {
  /** Time between two tokens. */
  tokenMs: number;
  contextLength: number;
  vocabulary: number;
  /** A message in place of `opened`. */
  openFault: { code: string; message: string; hint: string | null } | null;
}

const plainScript: RankScript = {
  tokenMs: 0,
  contextLength: 64,
  vocabulary: 1_000,
  openFault: null,
};

type GenerateMessage = Extract<ToRank, { type: 'generate' }>;

/**
 * A rank without a model, in this process: it says again, word by word, what the last message or
 * the text of the prompt said. Every word is a token (its length is its id); so is every id of a
 * prompt.
 */
export class ScriptedRank implements RankProcess {
  readonly pid: number;
  readonly exited: Promise<ProcessExit>;
  readonly cancelled: string[] = [];
  readonly generations: GenerateMessage[] = [];
  readonly #script: RankScript;
  readonly #lines = new JsonLines(1 << 20);
  readonly #active = new Set<string>();
  #listener: (bytes: Uint8Array) => void = () => {};
  #exit: (exit: ProcessExit) => void = () => {};
  #silent = false;
  #steps = 0;

  constructor(pid: number, script: RankScript) {
    this.pid = pid;
    this.#script = script;
    this.exited = new Promise((resolve) => (this.#exit = resolve));
    setImmediate(() => this.#say({ type: 'hello', protocol: 1, pid }));
  }

  get active(): number {
    return this.#active.size;
  }

  readonly unsentBytes = 0;

  send(bytes: Uint8Array): void {
    for (const value of this.#lines.push(bytes)) this.#handle(toRankSchema.parse(value));
  }

  onBytes(listener: (bytes: Uint8Array) => void): void {
    this.#listener = listener;
  }

  onLog(): void {}

  onSign(): void {}

  kill(signal: 'SIGTERM' | 'SIGKILL'): void {
    this.#silent = true;
    this.#exit({ code: null, signal });
  }

  /** Ends as a process that has crashed. */
  crash(): void {
    this.kill('SIGKILL');
  }

  /** Writes what is no message. */
  sayGarbage(): void {
    this.#listener(new TextEncoder().encode('{"type":"no such thing"}\n'));
  }

  #say(message: FromRank): void {
    if (!this.#silent) this.#listener(jsonLine(message));
  }

  #handle(message: ToRank): void {
    switch (message.type) {
      case 'open':
        if (message.group === null) return this.#open();
        return this.#say({ type: 'listening', port: 10_000 + message.group.rank });
      case 'peers':
        return this.#open();
      case 'check':
        return this.#say({
          type: 'reply',
          id: message.id,
          value: { ids: [4, 5, 6], logits: 'checksum' },
        });
      case 'generate':
        this.generations.push(message);
        void this.#generate(message);
        return;
      case 'cancel':
        this.cancelled.push(message.id);
        this.#active.delete(message.id);
        return;
      case 'ping':
        return this.#pong(message.number);
      case 'close':
        return this.#exit({ code: 0, signal: null });
      case 'logits':
      case 'text':
        return this.#say({ type: 'reply', id: message.id, value: {} });
    }
  }

  #open(): void {
    const { openFault, contextLength, vocabulary } = this.#script;
    this.#say({ type: 'progress', stage: 'weights', doneBytes: 50, totalBytes: 100 });
    if (openFault !== null) {
      this.#say({ type: 'failed', fault: openFault });
      this.#exit({ code: 1, signal: null });
      return;
    }
    this.#say({ type: 'opened', contextLength, slots: 4, vocabulary, loadMs: 5, memory });
  }

  #pong(number: number): void {
    this.#say({
      type: 'pong',
      number,
      running: this.#active.size,
      waiting: 0,
      steps: this.#steps,
      promptTokens: 0,
      generatedTokens: this.#steps,
      memory,
    });
  }

  async #generate({ id, input, options, resume }: GenerateMessage): Promise<void> {
    const words = wordsOf(input);
    if (words.length > this.#script.contextLength) {
      const fault = { code: 'prompt_too_long', message: 'the prompt is too long', hint: null };
      return this.#say({ type: 'error', id, fault });
    }
    this.#active.add(id);
    this.#say({ type: 'started', id, promptIds: words.map(tokenOf) });
    const most = Math.min(options.maxTokens ?? words.length, words.length);
    let generated = 0;
    for (let choice = 0; choice < options.choices; choice++) {
      const earlier = resume?.choices[choice];
      generated += earlier?.generated ?? 0;
      if (earlier?.finished === true) continue;
      let stop: string | null = null;
      for (let at = earlier?.ids.length ?? 0; at < most && stop === null; at++) {
        if (this.#script.tokenMs > 0) await sleep(this.#script.tokenMs);
        if (!this.#active.has(id)) return;
        const word = words[at] ?? '';
        stop = options.stop.find((text) => word.includes(text)) ?? null;
        this.#steps += 1;
        generated += 1;
        if (stop === null) this.#delta(id, choice, word, options.logprobs);
      }
      const reason = stop !== null || most === words.length ? 'stop' : 'length';
      this.#say({ type: 'finished', id, choice, reason, stop });
    }
    this.#active.delete(id);
    this.#say({
      type: 'done',
      id,
      usage: { promptTokens: words.length, cachedTokens: 0, generatedTokens: generated },
      timings: { queueMs: 0, promptMs: 2, generateMs: 3 },
    });
  }

  #delta(id: string, choice: number, word: string, alternatives: number | null): void {
    const entry = { token: tokenOf(word), text: `${word} `, logprob: -0.5 };
    const others = Array.from({ length: alternatives ?? 0 }, (_, rank) => ({
      token: rank,
      text: `other${rank}`,
      logprob: -1 - rank,
    }));
    this.#say({
      type: 'delta',
      id,
      choice,
      ids: [entry.token],
      text: entry.text,
      logprobs: alternatives === null ? [] : [{ ...entry, alternatives: others }],
    });
  }
}

const memory = { weightBytes: 10, cacheBytes: 20, activeBytes: 30, peakBytes: 40, liveArrays: 1 };

function tokenOf(word: string): number {
  return word.length;
}

function wordsOf(input: PromptInput): string[] {
  if (input.kind === 'ids') return input.ids.map(String);
  const said = input.kind === 'text' ? input.text : input.messages.at(-1)?.['content'];
  const text = typeof said === 'string' ? said : '';
  return text.split(/\s+/).filter((word) => word !== '');
}

/** Starts scripted ranks and keeps them for the test to look at. */
export class ScriptedRanks implements RankSpawner {
  readonly started: ScriptedRank[] = [];
  readonly script: RankScript;

  constructor(script: Partial<RankScript> = {}) {
    this.script = { ...plainScript, ...script };
  }

  spawn(): RankProcess {
    const rank = new ScriptedRank(1_000 + this.started.length, this.script);
    this.started.push(rank);
    return rank;
  }

  /** The rank that was started last. */
  get last(): ScriptedRank {
    const rank = this.started.at(-1);
    if (rank === undefined) throw new Error('no rank was started');
    return rank;
  }
}
