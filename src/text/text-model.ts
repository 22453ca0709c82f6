import { CideryError } from '../base/error.ts';
import { limits } from '../base/limits.ts';
import type { ModelText } from '../model/manifest.ts';
import type { ChatTemplates } from './chat-templates.ts';
import { createDetokenizer, type Detokenizer } from './detokenizer.ts';
import { encodeRendered } from './encode-rendered.ts';
import { StopMatcher } from './stop-matcher.ts';
import { Tokenizer } from './tokenizer.ts';

/** A chat as it comes from a request. */
export interface Chat {
  readonly messages: readonly unknown[];
  readonly tools: readonly unknown[] | null;
  /** Further variables of the template. */
  readonly variables: Readonly<Record<string, unknown>>;
}

/** The text side of one model. */
export class TextModel {
  readonly tokenizer: Tokenizer;
  readonly eosIds: ReadonlySet<number>;
  readonly #text: ModelText;
  readonly #templates: ChatTemplates;
  readonly #now: () => string;

  /** `now`: ISO date and time for templates that print it. */
  constructor(text: ModelText, tokenizerJson: string, templates: ChatTemplates, now: () => string) {
    this.#text = text;
    this.#templates = templates;
    this.#now = now;
    this.tokenizer = new Tokenizer(tokenizerJson);
    this.eosIds = new Set(text.eosIds);
  }

  /** Ids of a chat, ready for the answer. Throws `template_missing`, `prompt_too_large`, and what rendering throws. */
  async chatIds(chat: Chat): Promise<number[]> {
    const { chatTemplate, specialTokens } = this.#text;
    if (chatTemplate === null) {
      throw new CideryError('template_missing', 'this model has no chat template', {
        hint: 'it continues texts: use completions, or `cidery run --raw`',
      });
    }
    checkSize(JSON.stringify(chat.messages).length);
    const rendered = await this.#templates.render({
      template: chatTemplate,
      messages: chat.messages,
      tools: chat.tools,
      addGenerationPrompt: true,
      variables: { ...specialTokens, ...chat.variables },
      now: this.#now(),
    });
    checkSize(rendered.text.length);
    return encodeRendered(this.tokenizer, rendered);
  }

  /** Ids of a text. `special`: control tokens count as such and what belongs around a text is added. */
  async textIds(text: string, special: boolean): Promise<number[]> {
    checkSize(text.length);
    return special ? this.tokenizer.encode(text, true) : this.tokenizer.encodeOrdinary(text);
  }

  detokenizer(skipSpecial: boolean): Detokenizer {
    return createDetokenizer(this.tokenizer, skipSpecial);
  }

  stopMatcher(stops: readonly string[]): StopMatcher {
    return new StopMatcher(stops);
  }

  /** The text of one id on its own; half a character shows as U+FFFD. */
  tokenText(id: number): string {
    const detokenizer = this.detokenizer(false);
    return detokenizer.push(id) + detokenizer.finish();
  }
}

function checkSize(length: number): void {
  if (length > limits.promptMaxBytes) {
    throw new CideryError('prompt_too_large', `the prompt has ${length} characters`, {
      hint: `at most ${limits.promptMaxBytes} are taken`,
    });
  }
}
