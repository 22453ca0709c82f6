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
  const { decoder } = tokenizer.file;
  if (decoder?.type === 'ByteLevel') return new ByteLevelJoiner();
  const each = eachTokenText(decoder ?? null);
  if (each !== null) return new EachTokenJoiner(each);
  const steps = sentencePieceSteps(decoder);
  return steps === null ? new GenericJoiner(tokenizer) : new SentencePieceJoiner(steps);
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

/**
 * For any other decoder: the whole is joined again with each token (which takes time in proportion
 * to what there is), and what two joinings in a row agree on is sent. Decoders change at most the
 * end of what they have said: a joined word, a half character, a run of byte tokens, whose text is
 * sure only after its end.
 */
class GenericJoiner implements TokenJoiner {
  readonly #tokenizer: Tokenizer;
  readonly #tokens: string[] = [];
  #sent = '';
  #last = '';

  constructor(tokenizer: Tokenizer) {
    this.#tokenizer = tokenizer;
  }

  push(token: string): string {
    this.#tokens.push(token);
    const whole = this.#tokenizer.joinTokens(this.#tokens);
    const common = byteToken.test(token) ? this.#sent : commonPrefix(this.#last, whole);
    this.#last = whole;
    return this.#send(common.replace(/[\ufffd\ud800-\udbff]+$/, ''));
  }

  finish(): string {
    return this.#send(this.#last);
  }

  #send(text: string): string {
    if (text.length <= this.#sent.length || !text.startsWith(this.#sent)) return '';
    const piece = text.slice(this.#sent.length);
    this.#sent = text;
    return piece;
  }
}

function commonPrefix(a: string, b: string): string {
  let length = 0;
  while (length < a.length && length < b.length && a[length] === b[length]) length += 1;
  return a.slice(0, length);
}

function field(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? Reflect.get(value, name) : undefined;
}
