import { z } from 'zod';
import { CideryError, faultOf, invariant } from '../base/error.ts';
import type { ModelManifest } from '../model/manifest.ts';
import type { Clock } from '../ports/clock.ts';
import type { Addon } from './addon.ts';
import { knownAnswer } from './known-answer.ts';
import type { AddonName } from './load-addon.ts';
import {
  coded,
  type FollowingModel,
  type LeadingModel,
  type ModelGroup,
  openModel,
  type OpenModel,
} from './open-model.ts';
import {
  type Address,
  type EngineSettings,
  type FromRank,
  type GroupPlace,
  type Json,
  type TextOperation,
  type ToRank,
  toRankSchema,
} from './protocol.ts';
import { GenerationRequest, type RequestText } from './request.ts';
import { promptLogits } from './prompt-logits.ts';
import { safetensorsFile } from './safetensors-file.ts';
import { asCoded } from './step-loop.ts';

export interface RankParts {
  readonly clock: Pick<Clock, 'monotonic'>;
  readonly send: (message: FromRank) => void;
  /** Throws `addon_missing`. */
  readonly loadAddon: (name: AddonName) => Addon;
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
  readonly #peers: Promise<readonly Address[]>;
  #meet: (addresses: readonly Address[]) => void = () => {};
  #opened: OpenModel | null = null;
  /** The same where requests can be answered: on the first rank. */
  #leads: (LeadingModel & { readonly text: RequestText }) | null = null;

  constructor(parts: RankParts) {
    this.#parts = parts;
    this.#peers = new Promise((resolve) => (this.#meet = resolve));
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
        void this.#openModel(message);
        return;
      case 'peers':
        return this.#meet(message.addresses);
      case 'generate':
        return this.#generate(message);
      case 'cancel':
        this.#requests.get(message.id)?.cancel();
        return;
      case 'logits':
        return this.#answer(message.id, () => this.#logits(message));
      case 'check':
        return this.#answer(message.id, () => this.#check(message));
      case 'text':
        return this.#answer(message.id, () => this.#parts.runTextOperation(message.operation));
      case 'ping':
        return this.#pong(message.number);
      case 'close':
        return this.#parts.leave(0);
    }
  }

  async #openModel({
    manifest,
    settings,
    group,
  }: Extract<ToRank, { type: 'open' }>): Promise<void> {
    const { clock, send } = this.#parts;
    const startedAt = clock.monotonic();
    try {
      invariant(this.#addon === null, 'a rank opens one model');
      const addon = this.#parts.loadAddon(addonFor(settings, group));
      this.#addon = addon;
      const joined = group === null ? null : this.#listen(addon, group);
      // Side by side: the addon reads on its own thread while the tokenizer is parsed here.
      const [open, text] = await Promise.all([
        openModel(addon, manifest, settings, joined, {
          progress: (doneBytes, totalBytes) =>
            send({ type: 'progress', stage: 'weights', doneBytes, totalBytes }),
          failure: (error) => this.#fail(error),
        }),
        // Ranks that follow have to do with ids alone.
        (group?.rank ?? 0) > 0 ? null : this.#parts.openText(manifest),
      ]);
      this.#opened = open;
      if (open.loop === null) this.#follow(open);
      else if (text !== null) this.#leads = { ...open, text };
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

  #listen(addon: Addon, place: GroupPlace): ModelGroup {
    const { rank, ranks, split: kind, shares, backend, silenceMs } = place;
    const key = new Uint8Array(Buffer.from(place.key, 'base64'));
    const { handle: listener, port } = coded(() => addon.listenGroup(place.host));
    this.#parts.send({ type: 'listening', port });
    const peers = this.#peers;
    return { kind, rank, ranks, shares, backend, key, listener, peers, silenceMs };
  }

  /** Leaves in order when the first rank does. */
  #follow({ followed }: FollowingModel): void {
    followed.then(
      () => this.#parts.leave(0),
      (error: unknown) => this.#fail(asCoded(error)),
    );
  }

  #generate(message: Extract<ToRank, { type: 'generate' }>): void {
    const { id, input, options, resume } = message;
    const open = this.#leads;
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

  async #logits(message: Extract<ToRank, { type: 'logits' }>): Promise<Record<string, Json>> {
    const { id, ids, out } = message;
    const open = this.#leads;
    if (open === null) throw notOpen();
    const vocabulary = open.model.program.vocabulary;
    refuseUnknown(ids, vocabulary);
    const rows = Math.min(message.last, ids.length);
    const logits = await promptLogits(open.loop, id, ids, rows);
    await this.#parts.writeFile(out, safetensorsFile('logits', logits, rows, vocabulary));
    return { rows, vocabulary };
  }

  async #check(message: Extract<ToRank, { type: 'check' }>): Promise<Record<string, Json>> {
    const open = this.#leads;
    if (open === null) throw notOpen();
    refuseUnknown(message.ids, open.model.program.vocabulary);
    return { ...(await knownAnswer(open.loop, message.id, message.ids, message.tokens)) };
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
    const [open, addon] = [this.#opened, this.#addon];
    const isOpen = open !== null && addon !== null;
    const memory = isOpen ? addon.memory(open.engine) : noMemory;
    const steps = isOpen ? addon.stepsDone(open.engine) : 0;
    const loop = open?.loop ?? null;
    this.#parts.send({
      type: 'pong',
      number,
      running: loop?.running ?? 0,
      waiting: loop?.waiting ?? 0,
      steps,
      promptTokens: loop?.counts.promptTokens ?? 0,
      generatedTokens: loop?.counts.generatedTokens ?? 0,
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

/** Of those that users have, none holds MLX's ring. */
function addonFor({ executor }: EngineSettings, group: GroupPlace | null): AddonName {
  return group?.backend === 'unsealed-mlx-ring' ? 'ring' : executor;
}

function refuseUnknown(ids: readonly number[], vocabulary: number): void {
  const unknown = ids.find((token) => token >= vocabulary);
  if (unknown === undefined) return;
  throw new CideryError('token_unknown', `token ${unknown} is outside the ${vocabulary} known`);
}

function notOpen(): CideryError {
  return new CideryError('model_not_open', 'this rank has no open model');
}
