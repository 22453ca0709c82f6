import { z } from 'zod';
import { CideryError, invariant } from '../base/error.ts';
import type { ModelManifest } from '../model/manifest.ts';
import type { Addon } from './addon.ts';
import { type LeadingModel, openModel } from './open-model.ts';
import {
  type EngineSettings,
  type FromRank,
  type Json,
  type TextOperation,
  type ToRank,
  toRankSchema,
} from './protocol.ts';
import { faultOf, GenerationRequest, type RequestText } from './request.ts';
import { safetensorsFile } from './safetensors-file.ts';
import type { StepClock } from './step-loop.ts';

export interface RankParts {
  readonly clock: StepClock;
  readonly send: (message: FromRank) => void;
  /** The addon with an executor; throws `addon_missing`. */
  readonly loadAddon: (executor: EngineSettings['executor']) => Addon;
  readonly openText: (manifest: ModelManifest) => Promise<RequestText>;
  readonly runTextOperation: (operation: TextOperation) => Promise<Record<string, Json>>;
  readonly writeFile: (path: string, bytes: Uint8Array) => Promise<void>;
  /** Leaves the process, after what was sent is on its way. */
  readonly leave: (exitCode: number) => void;
}

/**
 * A rank: holds one model in its addon and its text side, and does what the daemon's messages say.
 * After a failed load or step it says why and leaves: every attempt is a fresh process.
 */
export class Rank {
  readonly #parts: RankParts;
  readonly #requests = new Map<string, GenerationRequest>();
  #addon: Addon | null = null;
  #open: (LeadingModel & { readonly text: RequestText }) | null = null;

  constructor(parts: RankParts) {
    this.#parts = parts;
  }

  /**
   * Parses a line of the daemon's and does what it says. One that cannot be parsed (it may be
   * nested more deeply than the stack goes) costs the request that it names; without a name it
   * throws `rank_protocol`.
   */
  receive(value: unknown): void {
    let message: ToRank;
    try {
      message = toRankSchema.parse(value);
    } catch (cause) {
      const named = namedSchema.safeParse(value);
      if (!named.success) {
        throw new CideryError('rank_protocol', 'the rank got an unreadable message', { cause });
      }
      const error = new CideryError(
        'prompt_too_large',
        'the request is nested too deeply or has a part that no rank can read',
      );
      return this.#parts.send({ type: 'error', id: named.data.id, fault: faultOf(error) });
    }
    this.#handle(message);
  }

  #handle(message: ToRank): void {
    switch (message.type) {
      case 'open':
        void this.#openModel(message.manifest, message.settings);
        return;
      case 'generate':
        return this.#generate(message);
      case 'cancel':
        this.#requests.get(message.id)?.cancel();
        return;
      case 'logits':
        return this.#answer(message.id, () => this.#logits(message));
      case 'text':
        return this.#answer(message.id, () => this.#parts.runTextOperation(message.operation));
      case 'ping':
        return this.#pong(message.number);
      case 'close':
        return this.#parts.leave(0);
    }
  }

  async #openModel(manifest: ModelManifest, settings: EngineSettings): Promise<void> {
    const { clock, send } = this.#parts;
    const startedAt = clock.monotonic();
    try {
      invariant(this.#addon === null, 'a rank opens one model');
      const addon = this.#parts.loadAddon(settings.executor);
      this.#addon = addon;
      // Side by side: the addon reads on its own thread while the tokenizer is parsed here.
      const [open, text] = await Promise.all([
        openModel(addon, manifest, settings, null, clock, {
          progress: (doneBytes, totalBytes) =>
            send({ type: 'progress', stage: 'weights', doneBytes, totalBytes }),
          failure: (error) => this.#fail(error),
        }),
        this.#parts.openText(manifest),
      ]);
      invariant(open.loop !== null, 'a rank without a group leads');
      this.#open = { ...open, text };
      send({
        type: 'opened',
        contextLength: open.contextLength,
        slots: settings.slots,
        vocabulary: open.model.program.vocabulary,
        loadMs: clock.monotonic() - startedAt,
        memory: addon.memory(open.engine),
      });
    } catch (error) {
      this.#fail(error);
    }
  }

  #generate(message: Extract<ToRank, { type: 'generate' }>): void {
    const { id, input, options, resume } = message;
    const open = this.#open;
    if (open === null) return this.#refuse(id);
    const request = new GenerationRequest(
      id,
      options,
      {
        text: open.text,
        loop: open.loop,
        monotonic: () => this.#parts.clock.monotonic(),
        contextLength: open.contextLength,
        vocabulary: open.model.program.vocabulary,
        send: this.#parts.send,
      },
      () => this.#requests.delete(id),
    );
    this.#requests.set(id, request);
    void request.start(input, resume);
  }

  #logits(message: Extract<ToRank, { type: 'logits' }>): Promise<Record<string, Json>> {
    const { id, ids, out } = message;
    const open = this.#open;
    if (open === null) throw notOpen();
    const vocabulary = open.model.program.vocabulary;
    const unknown = ids.find((token) => token >= vocabulary);
    if (unknown !== undefined) {
      throw new CideryError('token_unknown', `token ${unknown} is outside the ${vocabulary} known`);
    }
    const rows = Math.min(message.last, ids.length);
    return new Promise((resolve, reject) => {
      const sequence = {
        key: `${id}/logits`,
        tokens: ids,
        maxTokens: 1,
        stopIds: new Set<number>(),
        work: { kind: 'logits', rows } as const,
      };
      open.loop.add(sequence, (event) => {
        if (event.kind === 'failed') reject(event.error);
        if (event.kind !== 'logits') return;
        this.#parts
          .writeFile(out, safetensorsFile('logits', event.logits, rows, vocabulary))
          .then(() => resolve({ rows, vocabulary }), reject);
      });
    });
  }

  #answer(id: string, work: () => Promise<Record<string, Json>>): void {
    const { send } = this.#parts;
    // Runs the work inside the chain, so that a throw before its first wait is a fault like any
    // other.
    Promise.resolve()
      .then(work)
      .then(
        (value) => send({ type: 'reply', id, value }),
        (error: unknown) => send({ type: 'error', id, fault: faultOf(error) }),
      );
  }

  #refuse(id: string): void {
    this.#parts.send({ type: 'error', id, fault: faultOf(notOpen()) });
  }

  #pong(number: number): void {
    const open = this.#open;
    const memory =
      open === null || this.#addon === null ? noMemory : this.#addon.memory(open.engine);
    const counts = open?.loop.counts ?? { steps: 0, promptTokens: 0, generatedTokens: 0 };
    this.#parts.send({
      type: 'pong',
      number,
      running: open?.loop.running ?? 0,
      waiting: open?.loop.waiting ?? 0,
      ...counts,
      memory,
    });
  }

  #fail(error: unknown): void {
    this.#parts.send({ type: 'failed', fault: faultOf(error) });
    this.#parts.leave(failedExitCode);
  }
}

/** A message of which no more can be read than the request it belongs to. */
const namedSchema = z.looseObject({ id: z.string().min(1).max(128) });

/** Exit status of a rank that has said why it leaves. */
const failedExitCode = 1;

const noMemory = { weightBytes: 0, cacheBytes: 0, activeBytes: 0, peakBytes: 0, liveArrays: 0 };

function notOpen(): CideryError {
  return new CideryError('model_not_open', 'this rank has no open model');
}
