import { Tokenizer as RustTokenizer } from 'tokenizers';
import { errorMessage } from '../base/error.ts';
import {
  invalid,
  parseTokenizerFile,
  type TokenizerFile,
  withoutSpecialTokens,
} from './tokenizer-file.ts';

/** A token that is matched in text before anything else; a special one is control, not text. */
export interface AddedToken {
  readonly id: number;
  readonly content: string;
  readonly special: boolean;
}

/**
 * Text to ids and back, by Hugging Face's Rust tokenizers. Encoding runs off the event loop. A broken tokenizer.json
 * may abort the whole process inside the package: this is used in a rank and nowhere else.
 */
export class Tokenizer {
  readonly file: TokenizerFile;
  readonly added: readonly AddedToken[];
  readonly #rust: RustTokenizer;
  readonly #json: string;
  #ordinary: RustTokenizer | null = null;
  readonly #addedIds: ReadonlyMap<number, AddedToken>;

  /** Throws `tokenizer_invalid`. */
  constructor(json: string) {
    this.file = parseTokenizerFile(json);
    this.#json = json;
    this.#rust = build(json);
    this.added = this.file.added_tokens ?? [];
    this.#addedIds = new Map(this.added.map((token) => [token.id, token]));
  }

  /** Control tokens written in the text are parsed. `special` adds what belongs around a text, such as BOS. */
  async encode(text: string, special: boolean): Promise<number[]> {
    const encoding = await this.#rust.encode(text, null, { addSpecialTokens: special });
    return [...encoding.getIds()];
  }

  /** Control tokens written in the text stay the text they are. */
  async encodeOrdinary(text: string): Promise<number[]> {
    if (!this.added.some(({ content, special }) => special && text.includes(content))) {
      return this.encode(text, false);
    }
    // Built on first need: only a text that tries to forge control tokens pays for a second tokenizer.
    this.#ordinary ??= build(withoutSpecialTokens(this.#json));
    const encoding = await this.#ordinary.encode(text, null, { addSpecialTokens: false });
    return [...encoding.getIds()];
  }

  decode(ids: readonly number[], skipSpecial: boolean): Promise<string> {
    return this.#rust.decode([...ids], skipSpecial);
  }

  /** The token's own form, such as `Ġthe`; null outside the vocabulary. */
  token(id: number): string | null {
    return this.#rust.idToToken(id);
  }

  id(token: string): number | null {
    return this.#rust.tokenToId(token);
  }

  isSpecial(id: number): boolean {
    return this.#addedIds.get(id)?.special ?? false;
  }

  /** The text of token forms, as the tokenizer's own decoder joins them. */
  joinTokens(tokens: readonly string[]): string {
    const decoder = this.#rust.getDecoder();
    return decoder === null ? tokens.join(' ') : decoder.decode([...tokens]);
  }
}

function build(json: string): RustTokenizer {
  try {
    const tokenizer = RustTokenizer.fromString(json);
    // A prompt is never cut or padded, whatever the file was saved with.
    tokenizer.disableTruncation();
    tokenizer.disablePadding();
    return tokenizer;
  } catch (cause) {
    throw invalid(errorMessage(cause));
  }
}
