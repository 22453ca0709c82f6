import { CideryError, faultOf } from '../base/error.ts';
import { limits } from '../base/limits.ts';
import type { FinishReason, FromRank, GenerateOptions, PromptInput, Resume } from './protocol.ts';
import type { SequenceEvent } from './scheduler.ts';
import type { StepLoop } from './step-loop.ts';
import type { Sampler, TokenLogprob } from './step-plan.ts';

/** Turns ids into text as they come. */
export interface StreamingDetokenizer {
  /** Text that is certain now; never half a character. */
  push(id: number): string;
  /** What was held back. */
  finish(): string;
}

/** Holds back what may still become a stop string. */
export interface StreamingStopMatcher {
  push(text: string): { readonly text: string; readonly stop: string | null };
  finish(): string;
}

/** The text side of the open model, as a request needs it. */
export interface RequestText {
  promptIds(input: PromptInput, signal: AbortSignal): Promise<readonly number[]>;
  detokenizer(skipSpecial: boolean): StreamingDetokenizer;
  stopMatcher(stops: readonly string[]): StreamingStopMatcher;
  /** The text of one id on its own, for logprobs. */
  tokenText(id: number): string;
  readonly eosIds: ReadonlySet<number>;
}

export interface RequestParts {
  readonly text: RequestText;
  readonly loop: StepLoop;
  /** Milliseconds that never go back. */
  readonly monotonic: () => number;
  readonly contextLength: number;
  readonly vocabulary: number;
  readonly send: (message: FromRank) => void;
}

interface Choice {
  readonly index: number;
  readonly key: string;
  readonly detokenizer: StreamingDetokenizer;
  readonly matcher: StreamingStopMatcher;
  generated: number;
  finished: boolean;
  /** Text that an earlier attempt has not sent and the replay of its ids brought. */
  unsent: string;
  /** UTF-16 units of text to come that an earlier attempt has sent. */
  sentAhead: number;
}

/** Largest number that the addon takes in a sampler. */
const widest = 1e6;

function within(least: number, value: number, most: number): number {
  return Math.min(Math.max(value, least), most);
}

/** One generation in the rank: from the prompt's text to the last choice's end. */
export class GenerationRequest {
  readonly #id: string;
  readonly #options: GenerateOptions;
  readonly #parts: RequestParts;
  readonly #abort = new AbortController();
  readonly #onEnd: () => void;
  readonly #receivedAt: number;
  #choices: Choice[] = [];
  #promptTokens = 0;
  #cachedTokens = 0;
  #admittedAt: number | null = null;
  #firstTokenAt: number | null = null;
  #ended = false;

  constructor(id: string, options: GenerateOptions, parts: RequestParts, onEnd: () => void) {
    this.#id = id;
    this.#options = options;
    this.#parts = parts;
    this.#onEnd = onEnd;
    this.#receivedAt = parts.monotonic();
  }

  /**
   * Reads the prompt, or goes on where an earlier attempt ended, and joins the steps. Never
   * rejects: what goes wrong is sent.
   */
  async start(input: PromptInput, resume: Resume | null): Promise<void> {
    try {
      const prompt =
        resume?.promptIds ?? (await this.#parts.text.promptIds(input, this.#abort.signal));
      if (this.#ended) return;
      this.#check(prompt);
      this.#promptTokens = prompt.length;
      this.#parts.send({ type: 'started', id: this.#id, promptIds: [...prompt] });
      this.#join(prompt, resume);
    } catch (error) {
      this.#fail(error);
    }
  }

  /** Nothing is sent any more, and its sequences leave within a step. */
  cancel(): void {
    if (this.#ended) return;
    this.#abort.abort(new CideryError('cancelled', 'the request was cancelled'));
    this.#leave();
  }

  /** Throws `prompt_empty`, `prompt_too_long`, `token_unknown`. */
  #check(prompt: readonly number[]): void {
    const { contextLength, vocabulary } = this.#parts;
    if (prompt.length === 0) throw new CideryError('prompt_empty', 'the prompt has no tokens');
    if (prompt.length > contextLength) {
      throw new CideryError(
        'prompt_too_long',
        `the prompt has ${prompt.length} tokens and the context holds ${contextLength}`,
        { hint: 'shorten it, or load the model with a longer context' },
      );
    }
    const biased = this.#options.sampling.logitBias.map(({ token }) => token);
    const unknown = [...prompt, ...biased].find((id) => id >= vocabulary);
    if (unknown !== undefined) {
      throw new CideryError(
        'token_unknown',
        `token ${unknown} is outside the vocabulary of ${vocabulary}`,
      );
    }
  }

  #join(prompt: readonly number[], resume: Resume | null): void {
    const { choices, maxTokens } = this.#options;
    const room = this.#parts.contextLength - prompt.length;
    const length = Math.min(maxTokens ?? room, room);
    this.#choices = Array.from({ length: choices }, (_, index) => this.#newChoice(index));
    for (const choice of this.#choices) {
      const earlier = resume?.choices[choice.index];
      if (earlier === undefined) this.#begin(choice, prompt, [], length);
      else if (earlier.finished) {
        choice.generated = earlier.generated;
        choice.finished = true;
      } else this.#goOn(choice, prompt, earlier, length);
    }
    this.#endIfFinished();
  }

  #newChoice(index: number): Choice {
    const { text } = this.#parts;
    return {
      index,
      key: `${this.#id}/${index}`,
      detokenizer: text.detokenizer(this.#options.skipSpecial),
      matcher: text.stopMatcher(this.#options.stop),
      generated: 0,
      finished: false,
      unsent: '',
      sentAhead: 0,
    };
  }

  /**
   * Brings the text side of a choice to where an earlier attempt left it. What the daemon heard of
   * last may have been its end: that is found again here.
   */
  #goOn(
    choice: Choice,
    prompt: readonly number[],
    { ids, textLength }: Resume['choices'][number],
    length: number,
  ): void {
    let replayed = '';
    let stop: string | null = null;
    for (const id of ids) {
      const matched = choice.matcher.push(choice.detokenizer.push(id));
      replayed += matched.text;
      stop ??= matched.stop;
    }
    choice.generated = ids.length;
    choice.unsent = replayed.slice(textLength);
    choice.sentAhead = Math.max(0, textLength - replayed.length);
    if (stop === null && ids.length < length) return this.#begin(choice, prompt, ids, length);
    const last = stop === null ? this.#rest(choice) : { text: '', stop };
    this.#finish(choice, last.stop === null ? 'length' : 'stop', last.stop);
  }

  #begin(choice: Choice, prompt: readonly number[], ids: readonly number[], length: number): void {
    if (length <= 0) return this.#finish(choice, 'length', null);
    this.#parts.loop.add(
      {
        key: choice.key,
        tokens: [...prompt, ...ids],
        maxTokens: length - ids.length,
        stopIds: this.#options.ignoreEos ? new Set() : this.#parts.text.eosIds,
        work: { kind: 'generate', sampler: this.#sampler(choice.index, prompt.length) },
      },
      (event) => this.#onEvent(choice, event),
    );
  }

  #sampler(choice: number, promptLength: number): Sampler {
    const { sampling, logprobs } = this.#options;
    const { vocabulary } = this.#parts;
    // One sampler that the addon refuses would end the step of all: what is asked for beyond its
    // range (native/program/step_plan.cpp) means the same as the range's end.
    return {
      temperature: sampling.temperature < 1 / widest ? 0 : Math.min(sampling.temperature, widest),
      topP: sampling.topP,
      minP: sampling.minP,
      topK: Math.min(sampling.topK, vocabulary),
      repetition: within(1 / widest, sampling.repetitionPenalty, widest),
      presence: within(-widest, sampling.presencePenalty, widest),
      frequency: within(-widest, sampling.frequencyPenalty, widest),
      seed: BigInt(sampling.seed),
      choice,
      promptLength,
      logprobs: logprobs === null ? null : Math.min(logprobs, vocabulary),
      biases: sampling.logitBias.map(({ token, value }) => ({
        token,
        value: within(-widest, value, widest),
      })),
      mask: null,
    };
  }

  #onEvent(choice: Choice, event: SequenceEvent): void {
    switch (event.kind) {
      case 'admitted':
        this.#admittedAt ??= this.#parts.monotonic();
        if (choice.index === 0) this.#cachedTokens = event.reused;
        return;
      case 'token':
        this.#firstTokenAt ??= this.#parts.monotonic();
        choice.generated += 1;
        return this.#onToken(choice, event);
      case 'failed':
        return this.#fail(event.error);
      case 'logits':
        return this.#fail(new CideryError('internal', 'logits for a generation'));
    }
  }

  #onToken(choice: Choice, event: Extract<SequenceEvent, { kind: 'token' }>): void {
    const { token, finish } = event;
    const ends = finish === 'stop';
    const piece = ends ? '' : choice.detokenizer.push(token);
    const matched = choice.matcher.push(piece);
    const last =
      matched.stop === null && finish !== null ? this.#rest(choice) : { text: '', stop: null };
    const stop = matched.stop ?? last.stop;
    this.#parts.send({
      type: 'delta',
      id: this.#id,
      choice: choice.index,
      // The id that ends an answer is part of it for whoever counts ids, and has no text.
      ids: ends ? [] : [token],
      text: unsentText(choice, matched.text + last.text),
      logprobs: this.#options.logprobs === null || ends ? [] : [this.#logprobs(token, event)],
    });
    if (stop !== null) {
      this.#parts.loop.remove(choice.key);
      this.#finish(choice, 'stop', stop);
    } else if (finish !== null) this.#finish(choice, finish, null);
  }

  /** What detokenizer and matcher still hold at the end; a stop string may be complete only now. */
  #rest(choice: Choice): { text: string; stop: string | null } {
    const matched = choice.matcher.push(choice.detokenizer.finish());
    return {
      text: matched.stop === null ? matched.text + choice.matcher.finish() : matched.text,
      stop: matched.stop,
    };
  }

  #logprobs(
    token: number,
    event: { readonly logprob: number | null; readonly alternatives: readonly TokenLogprob[] },
  ) {
    const entry = (id: number, logprob: number) => ({
      token: id,
      text: this.#parts.text.tokenText(id),
      // JSON has no infinity; a token that a bias or a mask forbids has none to speak of either.
      logprob: Math.max(logprob, limits.logprobMin),
    });
    return {
      ...entry(token, event.logprob ?? limits.logprobMin),
      alternatives: event.alternatives.map((other) => entry(other.token, other.logprob)),
    };
  }

  #finish(choice: Choice, reason: FinishReason, stop: string | null): void {
    choice.finished = true;
    this.#parts.send({ type: 'finished', id: this.#id, choice: choice.index, reason, stop });
    this.#endIfFinished();
  }

  /** Tells the end of the request when no choice goes on. */
  #endIfFinished(): void {
    if (this.#ended || !this.#choices.every(({ finished }) => finished)) return;
    const now = this.#parts.monotonic();
    const admittedAt = this.#admittedAt ?? now;
    const firstTokenAt = this.#firstTokenAt ?? now;
    this.#leave();
    this.#parts.send({
      type: 'done',
      id: this.#id,
      usage: {
        promptTokens: this.#promptTokens,
        cachedTokens: this.#cachedTokens,
        generatedTokens: this.#choices.reduce((sum, { generated }) => sum + generated, 0),
      },
      timings: {
        queueMs: admittedAt - this.#receivedAt,
        promptMs: firstTokenAt - admittedAt,
        generateMs: now - firstTokenAt,
      },
    });
  }

  #fail(error: unknown): void {
    if (this.#ended) return;
    this.#leave();
    this.#parts.send({ type: 'error', id: this.#id, fault: faultOf(error) });
  }

  #leave(): void {
    this.#ended = true;
    for (const { key } of this.#choices) this.#parts.loop.remove(key);
    this.#onEnd();
  }
}

/**
 * What of a piece of text the client has not yet: an earlier attempt may have sent a part of it.
 */
function unsentText(choice: Choice, text: string): string {
  const whole = choice.unsent + text;
  const unsent = whole.slice(choice.sentAhead);
  choice.sentAhead -= whole.length - unsent.length;
  choice.unsent = '';
  return unsent;
}
