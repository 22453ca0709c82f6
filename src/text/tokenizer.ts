import { Tokenizer as RustTokenizer } from 'tokenizers';
import { errorMessage } from '../base/error.ts';
import {
  invalid,
  parseTokenizerFile,
  parseTokenizerHead,
  renameAddedTokens,
  type TokenizerFile,
} from './tokenizer-file.ts';

/** A token that is matched in text before anything else; a special one is control, not text. */
export interface AddedToken {
  readonly id: number;
  readonly content: string;
  readonly special: boolean;
}

/**
 * Text to ids and back, by Hugging Face's Rust tokenizers. Encoding runs off the event loop. A
 * broken tokenizer.json may abort the whole process inside the package: this is used in a rank and
 * nowhere else.
 */
export class Tokenizer {
  readonly file: Pick<TokenizerFile, 'decoder'>;
  readonly added: readonly AddedToken[];
  readonly #rust: RustTokenizer;
  readonly #json: string;
  readonly #specialIds: ReadonlySet<number>;

  /** Loading blocks for up to 2 s (a vocabulary of 260,000). Throws `tokenizer_invalid`. */
  constructor(json: string) {
    const { decoder, added_tokens: added } = parseTokenizerHead(json);
    this.file = { decoder };
    this.added = (added ?? []).map(({ id, content, special }) => ({ id, content, special }));
    this.#json = json;
    this.#rust = build(json);
    this.#specialIds = new Set(this.added.flatMap(({ id, special }) => (special ? [id] : [])));
  }

  /** This tokenizer with other names for some added tokens; the old ones are text to it. */
  renamed(names: ReadonlyMap<string, string>): Tokenizer {
    const file = renameAddedTokens(parseTokenizerFile(this.#json), names);
    const renamed = new Tokenizer(JSON.stringify(file));
    for (const { content, id } of this.added) {
      const name = names.get(content) ?? content;
      if (renamed.id(name) !== id) throw invalid(`the added token ${content} has no fixed id`);
    }
    return renamed;
  }

  /**
   * Control tokens written in the text are parsed. `special` adds what belongs around a text, such
   * as BOS.
   */
  async encode(text: string, special: boolean): Promise<number[]> {
    const encoding = await this.#rust.encode(text, null, { addSpecialTokens: special });
    return encoding.getIds();
  }

  /** Ids outside the vocabulary are left out. */
  decode(ids: readonly number[], skipSpecial: boolean): Promise<string> {
    return this.#rust.decode([...ids], skipSpecial);
  }

  /** Ids of the vocabulary, added tokens included. */
  get vocabularySize(): number {
    return this.#rust.getVocabSize(true);
  }

  /** The token's own form, such as `Ġthe`; null outside the vocabulary. */
  token(id: number): string | null {
    return this.#rust.idToToken(id);
  }

  id(token: string): number | null {
    return this.#rust.tokenToId(token);
  }

  isSpecial(id: number): boolean {
    return this.#specialIds.has(id);
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
