import { join } from 'node:path';
import { modelId } from '../../src/base/ids.ts';
import { errorMessage } from '../../src/base/error.ts';
import type { Addon } from '../../src/engine/addon.ts';
import { loadAddon } from '../../src/engine/load-addon.ts';
import type {
  EngineSettings,
  FromRank,
  GenerateOptions,
  TokenLogprobs,
  Resume,
} from '../../src/engine/protocol.ts';
import { Rank } from '../../src/engine/rank.ts';
import { openRequestText } from '../../src/engine/request-text.ts';
import { realClock } from '../../src/platform/real-clock.ts';
import { realDisk } from '../../src/platform/real-disk.ts';
import { readManifest } from '../../src/store/read-manifest.ts';
import { greedyOptions, greedySampling } from './requests.ts';
import { testExecutor } from './executor.ts';

/** The tiny models that golden tests compare with mlx-lm. */
export const tinyModels = join(import.meta.dirname, '../golden/models');

/** Changes of a greedy request; those of `sampling` one by one as well. */
export type OptionChanges = Partial<Omit<GenerateOptions, 'sampling'>> & {
  readonly sampling?: Partial<GenerateOptions['sampling']>;
};

export function optionsWith({ sampling, ...changes }: OptionChanges): GenerateOptions {
  return { ...greedyOptions, ...changes, sampling: { ...greedySampling, ...sampling } };
}

export interface Choice {
  readonly ids: number[];
  readonly logprobs: TokenLogprobs[];
  finish: string | null;
}

export interface Answer {
  readonly choices: Choice[];
  readonly usage: Extract<FromRank, { type: 'done' }>['usage'];
}

const preciseSettings: EngineSettings = {
  executor: testExecutor,
  precise: true,
  contextLength: null,
  cacheBytes: 2 ** 26,
  slots: 8,
  threads: 0,
};

/** A rank in this process, on the real addon unless another is given. */
export class RankSession {
  /** The statuses that it has left with. */
  readonly left: number[] = [];
  readonly rank: Rank;
  readonly #listeners = new Set<(message: FromRank) => void>();
  #count = 0;

  constructor(addon: () => Addon = () => loadAddon(testExecutor)) {
    this.rank = new Rank({
      clock: realClock,
      send: (message) => {
        for (const listener of this.#listeners) listener(message);
      },
      loadAddon: addon,
      openText: (manifest) => openRequestText(manifest.text),
      runTextOperation: () => Promise.reject(new Error('no text here')),
      writeFile: () => Promise.resolve(),
      leave: (code) => this.left.push(code),
    });
  }

  /** Opens a tiny model; resolves with `opened` or `failed`. */
  async open(name: string, changes: Partial<EngineSettings> = {}): Promise<FromRank> {
    const path = join(tinyModels, name);
    const manifest = await readManifest(
      realDisk,
      { id: modelId(name), kind: 'safetensors', path },
      '/none',
    );
    const opened = this.until(({ type }) => type === 'opened' || type === 'failed');
    this.rank.receive({
      type: 'open',
      manifest,
      settings: { ...preciseSettings, ...changes },
      group: null,
    });
    return opened;
  }

  /** Resolves with the next message that fits. */
  until(fits: (message: FromRank) => boolean): Promise<FromRank> {
    return new Promise((resolve) => {
      const listener = (message: FromRank) => {
        if (!fits(message)) return;
        this.#listeners.delete(listener);
        resolve(message);
      };
      this.#listeners.add(listener);
    });
  }

  /** Calls back with every message from now on; returns the way to stop it. */
  onMessage(listener: (message: FromRank) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Sends a request; its id. */
  start(ids: readonly number[], changes: OptionChanges = {}, resume: Resume | null = null): string {
    this.#count += 1;
    const id = `r${this.#count}`;
    const options = optionsWith(changes);
    this.rank.receive({
      type: 'generate',
      id,
      input: { kind: 'ids', ids: [...ids] },
      options,
      resume,
    });
    return id;
  }

  cancel(id: string): void {
    this.rank.receive({ type: 'cancel', id });
  }

  /** The whole answer; rejects with the code of its error. */
  async generate(
    ids: readonly number[],
    changes: OptionChanges = {},
    resume: Resume | null = null,
  ): Promise<Answer> {
    const choices: Choice[] = Array.from({ length: changes.choices ?? 1 }, () => ({
      ids: [],
      logprobs: [],
      finish: null,
    }));
    // What the rank says at once belongs to it, too.
    const id = `r${this.#count + 1}`;
    return new Promise((resolve, reject) => {
      const stop = this.onMessage((message) => {
        if (!('id' in message) || message.id !== id) return;
        if (message.type === 'delta') {
          choices[message.choice]?.ids.push(...message.ids);
          choices[message.choice]?.logprobs.push(...message.logprobs);
        } else if (message.type === 'finished') {
          const choice = choices[message.choice];
          if (choice !== undefined) choice.finish = message.reason;
        } else if (message.type === 'done') {
          stop();
          resolve({ choices, usage: message.usage });
        } else if (message.type === 'error') {
          stop();
          reject(new Error(`${message.fault.code}: ${message.fault.message}`));
        }
      });
      this.start(ids, changes, resume);
    });
  }

  /** The code of the error that the request ends with. */
  async refusal(ids: readonly number[], changes: OptionChanges = {}): Promise<string> {
    return this.generate(ids, changes).then(
      () => 'it was answered',
      (error: unknown) => errorMessage(error).split(':')[0] ?? '',
    );
  }

  /** The rank's report of itself. */
  async ping(): Promise<Extract<FromRank, { type: 'pong' }>> {
    const pong = this.until(({ type }) => type === 'pong');
    this.rank.receive({ type: 'ping', number: 0 });
    const message = await pong;
    if (message.type !== 'pong') throw new Error('no pong');
    return message;
  }
}
