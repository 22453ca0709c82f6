import { byteLevelBytes } from './byte-level.ts';
import { eachTokenText } from './each-token.ts';
import type { Tokenizer } from './tokenizer.ts';

/** Joins the forms of tokens (`Ġthe`) to text as a tokenizer's decoder does, in pieces. */
export interface TokenJoiner {
  push(token: string): string;
  finish(): string;
}

/** The joiner for the decoder of the tokenizer's file (huggingface/tokenizers, src/decoders). */
export function createJoiner(tokenizer: Tokenizer): TokenJoiner {
  const decoder = withoutWrapping(tokenizer.file.decoder ?? null);
  if (field(decoder, 'type') === 'ByteLevel') return new ByteLevelJoiner();
  const each = eachTokenText(decoder);
  if (each !== null) return new EachTokenJoiner(each);
  const steps = sentencePieceSteps(decoder);
  return steps === null ? new GenericJoiner(tokenizer) : new SentencePieceJoiner(steps);
}

/** A sequence of one decoder is that decoder. */
function withoutWrapping(decoder: object | null): object | null {
  const steps: unknown = field(decoder, 'decoders');
  const isWrapping = field(decoder, 'type') === 'Sequence' && Array.isArray(steps);
  const [only, ...more]: unknown[] = isWrapping ? steps : [];
  return typeof only === 'object' && only !== null && more.length === 0 ? only : decoder;
}

/** Each token is bytes; characters are whole when their last byte has come. */
class ByteLevelJoiner implements TokenJoiner {
  readonly #decoder = new TextDecoder('utf-8', { ignoreBOM: true });

  push(token: string): string {
    return this.#decoder.decode(byteLevelBytes(token), { stream: true });
  }

  finish(): string {
    return this.#decoder.decode();
  }
}

/** Each token has its text, which depends only on whether it is the first. */
class EachTokenJoiner implements TokenJoiner {
  readonly #text: (token: string, isFirst: boolean) => string;
  #isFirst = true;

  constructor(text: (token: string, isFirst: boolean) => string) {
    this.#text = text;
  }

  push(token: string): string {
    const text = this.#text(token, this.#isFirst);
    this.#isFirst = false;
    return text;
  }

  finish(): string {
    return '';
  }
}

/** Replacements, then runs of byte tokens as characters, then a leading text taken off once. */
interface SentencePieceSteps {
  readonly replacements: readonly (readonly [pattern: string, content: string])[];
  readonly stripContent: string;
  readonly stripStart: number;
}

/** The steps of the decoder that SentencePiece models have; null for any other. */
function sentencePieceSteps(decoder: unknown): SentencePieceSteps | null {
  const steps = field(decoder, 'decoders');
  if (field(decoder, 'type') !== 'Sequence' || !Array.isArray(steps)) return null;
  const types = steps.map((step) => field(step, 'type'));
  const order = types.join(' ').replace(/^(Replace )*/, '');
  if (!/^ByteFallback Fuse( Strip)?$/.test(order)) return null;
  const replacements: [string, string][] = [];
  let strip = { content: '', start: 0 };
  for (const step of steps) {
    if (field(step, 'type') === 'Replace') {
      const pattern = field(field(step, 'pattern'), 'String');
      const content = field(step, 'content');
      if (typeof pattern !== 'string' || typeof content !== 'string') return null;
      replacements.push([pattern, content]);
    } else if (field(step, 'type') === 'Strip') {
      const [content, start, stop] = ['content', 'start', 'stop'].map((name) => field(step, name));
      if (typeof content !== 'string' || typeof start !== 'number' || stop !== 0) return null;
      strip = { content, start };
    }
  }
  return { replacements, stripContent: strip.content, stripStart: strip.start };
}

class SentencePieceJoiner implements TokenJoiner {
  readonly #steps: SentencePieceSteps;
  #bytes: number[] = [];
  #strip: number;

  constructor(steps: SentencePieceSteps) {
    this.#steps = steps;
    this.#strip = steps.stripStart;
  }

  push(token: string): string {
    const text = this.#steps.replacements.reduce(
      (replaced, [pattern, content]) => replaced.replaceAll(pattern, () => content),
      token,
    );
    const byte = byteToken.exec(text)?.[1];
    if (byte === undefined) return this.#stripped(this.#flush() + text);
    // Whether the run is text shows only at its end: one wrong byte makes every byte of it a
    // replacement character.
    this.#bytes.push(Number.parseInt(byte, 16));
    return '';
  }

  finish(): string {
    return this.#stripped(this.#flush());
  }

  #flush(): string {
    const bytes = Uint8Array.from(this.#bytes);
    this.#bytes = [];
    try {
      return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    } catch {
      return '\ufffd'.repeat(bytes.length);
    }
  }

  #stripped(text: string): string {
    const { stripContent } = this.#steps;
    let rest = text;
    while (this.#strip > 0 && rest !== '') {
      if (!rest.startsWith(stripContent)) this.#strip = 0;
      else {
        rest = rest.slice(stripContent.length);
        this.#strip -= 1;
      }
    }
    return rest;
  }
}

const byteToken = /^<0x([0-9A-Fa-f]{2})>$/;

/** Tokens that are joined again with each one that comes, at least; at most twice as many. */
const windowTokens = 256;

/**
 * For any other decoder: what there is is joined again with each token, and what two joinings in a
 * row agree on is sent. Decoders change at most the end of what they have said: a joined word, a
 * half character, a run of byte tokens, whose text is sure only after its end. Of a long text only
 * the last tokens are joined, once what is not yet sent has been seen not to depend on the others.
 */
class GenericJoiner implements TokenJoiner {
  readonly #tokenizer: Tokenizer;
  #tokens: string[] = [];
  /** How much of the last joining has been sent. */
  #sent = 0;
  #last = '';

  constructor(tokenizer: Tokenizer) {
    this.#tokenizer = tokenizer;
  }

  push(token: string): string {
    if (this.#tokens.length >= 2 * windowTokens) this.#forget();
    this.#tokens.push(token);
    const before = this.#last;
    this.#last = this.#tokenizer.joinTokens(this.#tokens);
    if (byteToken.test(token)) return '';
    return this.#send(commonPrefix(before, this.#last).replace(/[\ufffd\ud800-\udbff]+$/, ''));
  }

  finish(): string {
    return this.#send(this.#last);
  }

  #send(text: string): string {
    const piece = text.slice(this.#sent);
    this.#sent = Math.max(this.#sent, text.length);
    return piece;
  }

  /** Goes on with the last tokens alone if they give what is still to be sent. */
  #forget(): void {
    const kept = this.#tokens.slice(-windowTokens);
    const joined = this.#tokenizer.joinTokens(kept);
    const unsent = this.#last.length - this.#sent;
    const shared = commonSuffix(this.#last, joined);
    // What was sent must reach into what both say, or a change of it would go unseen.
    if (unsent >= shared) return;
    this.#tokens = kept;
    this.#sent = joined.length - unsent;
    this.#last = joined;
  }
}

function commonSuffix(a: string, b: string): number {
  let length = 0;
  while (length < a.length && length < b.length && a.at(-1 - length) === b.at(-1 - length)) {
    length += 1;
  }
  return length;
}

function commonPrefix(a: string, b: string): string {
  let length = 0;
  while (length < a.length && length < b.length && a[length] === b[length]) length += 1;
  return a.slice(0, length);
}

function field(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? Reflect.get(value, name) : undefined;
}
