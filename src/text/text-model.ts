import { CideryError } from '../base/error.ts';
import { limits } from '../base/limits.ts';
import type { ModelText } from '../model/manifest.ts';
import type { ChatTemplates } from './chat-templates.ts';
import { controlTokens } from './control-tokens.ts';
import { createDetokenizer, type Detokenizer } from './detokenizer.ts';
import { jsonSize } from './json-size.ts';
import { PromptEncoder } from './prompt-encoder.ts';
import { StopMatcher } from './stop-matcher.ts';
import { type AddedToken, Tokenizer } from './tokenizer.ts';

/** A chat as it comes from a request. */
export interface Chat {
  readonly messages: readonly unknown[];
  readonly tools: readonly unknown[] | null;
  /** Further variables of the template. */
  readonly variables: Readonly<Record<string, unknown>>;
}

/**
 * A token that nearly every vocabulary has. Decoders drop the space in front of a text's first
 * token, so it stands in for a text before the one that is looked at.
 */
const plainText = 'a';

/** The text side of one model. */
export class TextModel {
  readonly tokenizer: Tokenizer;
  readonly eosIds: ReadonlySet<number>;
  readonly #text: ModelText;
  readonly #templates: ChatTemplates;
  readonly #now: () => string;
  readonly #encoder: PromptEncoder;
  readonly #control: readonly AddedToken[];

  /** `now`: ISO date and time for templates that print it. Throws `tokenizer_invalid`. */
  constructor(text: ModelText, tokenizerJson: string, templates: ChatTemplates, now: () => string) {
    this.#text = text;
    this.#templates = templates;
    this.#now = now;
    this.tokenizer = new Tokenizer(tokenizerJson);
    this.#control = controlTokens(this.tokenizer.added, text.chatTemplate);
    this.#encoder = new PromptEncoder(this.tokenizer, this.#control);
    this.eosIds = new Set(text.eosIds);
  }

  /**
   * Ids of a chat, ready for the answer. Control tokens written into it stay text; an assistant's
   * message keeps those that are not marked special (`<think>`), as the model wrote them. Throws
   * `template_missing`, `prompt_too_large`, and what rendering throws.
   */
  async chatIds(chat: Chat, signal?: AbortSignal): Promise<number[]> {
    const { chatTemplate, specialTokens } = this.#text;
    if (chatTemplate === null) {
      throw new CideryError('template_missing', 'this model has no chat template', {
        hint: 'it continues texts: use completions, or `cidery run --raw`',
      });
    }
    checkSize(jsonSize([chat.messages, chat.tools, chat.variables], limits.promptMaxCharacters));
    const job = {
      template: chatTemplate,
      messages: chat.messages,
      tools: chat.tools,
      addGenerationPrompt: true,
      variables: specialTokens,
      requestVariables: chat.variables,
      assistantTokens: this.#control.flatMap(({ content, special }) => (special ? [] : [content])),
      now: this.#now(),
    };
    const rendered = await this.#templates.render(job, signal);
    checkSize(rendered.text.length);
    signal?.throwIfAborted();
    return this.#encoder.encode(rendered);
  }

  /**
   * Ids of a text. `special`: control tokens count as such and what belongs around a text is added;
   * else it is text from end to end. Throws `prompt_too_large`.
   */
  async textIds(text: string, special: boolean): Promise<number[]> {
    checkSize(text.length);
    return special ? this.tokenizer.encode(text, true) : this.#encoder.encodeOrdinary(text);
  }

  /** `resumeFrom`: ids whose pieces somebody has already sent. */
  detokenizer(skipSpecial: boolean, resumeFrom: readonly number[] = []): Detokenizer {
    return createDetokenizer(this.tokenizer, skipSpecial, resumeFrom);
  }

  stopMatcher(stops: readonly string[]): StopMatcher {
    return new StopMatcher(stops);
  }

  /**
   * The text that one id adds to a text, a leading space included; half a character shows as
   * U+FFFD.
   */
  tokenText(id: number): string {
    const before = this.tokenizer.id(plainText);
    const detokenizer = this.detokenizer(false);
    const start = before === null ? '' : detokenizer.push(before);
    const text = start + detokenizer.push(id) + detokenizer.finish();
    return before !== null && text.startsWith(plainText) ? text.slice(plainText.length) : text;
  }
}

function checkSize(characters: number): void {
  if (characters <= limits.promptMaxCharacters) return;
  const size = characters === Infinity ? 'is nested too deeply' : `has ${characters} characters`;
  throw new CideryError('prompt_too_large', `the prompt ${size}`, {
    hint: `at most ${limits.promptMaxCharacters} characters are taken, in 200 levels`,
  });
}
