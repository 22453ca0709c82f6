import { JsonLines, jsonLine } from '../../src/base/lines.ts';
import { modelId } from '../../src/base/ids.ts';
import { type FromRank, type ToRank, toRankSchema } from '../../src/engine/protocol.ts';
import type { ModelManifest } from '../../src/model/manifest.ts';
import { smallConfigs, tensorsFor } from '../../src/model/testing.ts';
import type { ModelLibrary, ModelOnDisk } from '../../src/node/model-library.ts';
import type { ProcessExit, RankProcess, RankSpawner } from '../../src/ports/spawner.ts';

const noMemory = {
  weightBytes: 0,
  cacheBytes: 0,
  activeBytes: 0,
  peakBytes: 0,
  liveArrays: 0,
};

/** A rank's process whose other end is the test. */
export class FakeRank implements RankProcess {
  readonly pid: number;
  unsentBytes = 0;
  /** SIGTERM and `close` do not move it. */
  stubborn = false;
  /** What the daemon has sent, in order. */
  readonly received: ToRank[] = [];
  readonly signals: string[] = [];
  readonly exited: Promise<ProcessExit>;
  readonly #lines = new JsonLines(2 ** 24);
  readonly #onMessage: (rank: FakeRank, message: ToRank) => void;
  #resolveExited: (exit: ProcessExit) => void = () => {};
  #onBytes: (bytes: Uint8Array) => void = () => {};
  #onLog: (line: string) => void = () => {};
  #onSign: () => void = () => {};
  #gone = false;

  constructor(pid: number, onMessage: (rank: FakeRank, message: ToRank) => void) {
    this.pid = pid;
    this.#onMessage = onMessage;
    this.exited = new Promise((resolve) => (this.#resolveExited = resolve));
  }

  get gone(): boolean {
    return this.#gone;
  }

  send(bytes: Uint8Array): void {
    if (this.#gone) return;
    for (const value of this.#lines.push(bytes)) {
      const message = toRankSchema.parse(value);
      this.received.push(message);
      queueMicrotask(() => {
        if (!this.#gone) this.#onMessage(this, message);
      });
    }
  }

  onBytes(listener: (bytes: Uint8Array) => void): void {
    this.#onBytes = listener;
  }

  onLog(listener: (line: string) => void): void {
    this.#onLog = listener;
  }

  onSign(listener: () => void): void {
    this.#onSign = listener;
  }

  /** Gives a sign of life. */
  sign(): void {
    if (!this.#gone) this.#onSign();
  }

  kill(signal: 'SIGTERM' | 'SIGKILL'): void {
    this.signals.push(signal);
    if (signal === 'SIGTERM' && this.stubborn) return;
    this.end({ code: null, signal });
  }

  say(...messages: readonly FromRank[]): void {
    for (const message of messages) this.sayBytes(jsonLine(message));
  }

  sayBytes(bytes: Uint8Array): void {
    if (!this.#gone) this.#onBytes(bytes);
  }

  log(line: string): void {
    this.#onLog(line);
  }

  /** The process ends; nothing that it says afterwards arrives. */
  end(exit: ProcessExit): void {
    this.#gone = true;
    this.#resolveExited(exit);
  }
}

/** Starts fake ranks; `behave` is what each does with a message. */
export class FakeSpawner implements RankSpawner {
  readonly ranks: FakeRank[] = [];
  /** The system has no process to give. */
  refuses = false;
  behave: (rank: FakeRank, message: ToRank) => void;
  /** Said as soon as it is up. */
  onStart: (rank: FakeRank) => void = (rank) =>
    rank.say({ type: 'hello', protocol: 1, pid: rank.pid });

  constructor(behave: (rank: FakeRank, message: ToRank) => void = obliging) {
    this.behave = behave;
  }

  spawn(): FakeRank {
    if (this.refuses) throw new Error('spawn EAGAIN');
    const rank = new FakeRank(1_000 + this.ranks.length, (from, message) =>
      this.behave(from, message),
    );
    this.ranks.push(rank);
    queueMicrotask(() => this.onStart(rank));
    return rank;
  }

  /** The rank started last. */
  get last(): FakeRank {
    const rank = this.ranks.at(-1);
    if (rank === undefined) throw new Error('no rank was started');
    return rank;
  }
}

/**
 * Opens at once (in a group: once it knows the others), answers pings and its check, leaves when
 * asked; requests stay unanswered.
 */
export function obliging(rank: FakeRank, message: ToRank): void {
  if (message.type === 'open' && message.group !== null) rank.say(listening(rank));
  else if (message.type === 'open' || message.type === 'peers') rank.say(openedMessage);
  else if (message.type === 'check') rank.say(checkReply(message.id));
  else if (message.type === 'ping') rank.say(pong(message.number));
  else if (message.type === 'close' && !rank.stubborn) rank.end({ code: 0, signal: null });
}

/** Each listens at a port of its own. */
export function listening(rank: FakeRank): FromRank {
  return { type: 'listening', port: 10_000 + rank.pid };
}

/** The answer that every rank of a test knows. */
export function checkReply(id: string, ids: number[] = [4, 5, 6]): FromRank {
  return { type: 'reply', id, value: { ids, logits: 'checksum' } };
}

export const openedMessage: FromRank = {
  type: 'opened',
  contextLength: 128,
  slots: 4,
  vocabulary: 50,
  loadMs: 1,
  memory: noMemory,
};

export function pong(
  number: number,
  changes: Partial<Extract<FromRank, { type: 'pong' }>> = {},
): FromRank {
  return {
    type: 'pong',
    number,
    running: 0,
    waiting: 0,
    steps: 0,
    promptTokens: 0,
    generatedTokens: 0,
    memory: noMemory,
    ...changes,
  };
}

export function doneMessage(id: string): FromRank {
  return {
    type: 'done',
    id,
    usage: { promptTokens: 1, cachedTokens: 0, generatedTokens: 1 },
    timings: { queueMs: 0, promptMs: 0, generateMs: 0 },
  };
}

export function manifestOf(id: string): ModelManifest {
  const config = smallConfigs.llama;
  return {
    id,
    files: [],
    config,
    tensors: tensorsFor(config),
    text: { tokenizerPath: null, chatTemplate: null, specialTokens: {}, eosIds: [] },
  };
}

/** Every name is a model; each is small and the same. */
export function fakeLibrary(): ModelLibrary {
  const model = (name: string): ModelOnDisk => ({
    id: modelId(name),
    kind: 'safetensors',
    path: `/models/${name}`,
    sizeBytes: 0,
    state: 'ready',
    modifiedMs: 0,
  });
  return {
    list: async () => [],
    resolve: async (name) => model(name),
    admit: async (name) => model(name),
    manifest: async ({ id }) => manifestOf(id),
    pull: async (name) => model(name),
    remove: async () => ({ freedBytes: 0, keptFiles: false }),
  };
}
