import type { AddedToken } from './tokenizer.ts';

/** As much of a template as is searched for tokens: more than the longest known ones have. */
const searchedCharacters = 256 * 1024;

/**
 * The added tokens that steer a model and that nobody may forge: those marked special, and of the
 * others (a file may leave `<｜User｜>` unmarked) those that the chat template writes or that look
 * like it. Not among them are added tokens that are mere vocabulary, such as gemma's line feeds and
 * HTML tags.
 */
export function controlTokens(
  added: readonly AddedToken[],
  chatTemplate: string | null,
): AddedToken[] {
  const searched = chatTemplate?.slice(0, searchedCharacters) ?? '';
  return added.filter(({ content, special }) => {
    if (content === '') return false;
    if (special || /^<[|｜].*[|｜]>$/u.test(content)) return true;
    return /^[<[].*[>\]]$/u.test(content) && searched.includes(content);
  });
}

/** A token where it stands in a text, in UTF-16 units. */
export interface Occurrence {
  readonly content: string;
  readonly start: number;
  readonly end: number;
}

/** Finds control tokens in texts. */
export class ControlTokenFinder {
  readonly #pattern: RegExp | null;

  constructor(contents: Iterable<string>) {
    const longestFirst = [...contents].sort((a, b) => b.length - a.length).map(escapeRegExp);
    this.#pattern = longestFirst.length === 0 ? null : new RegExp(longestFirst.join('|'), 'g');
  }

  /**
   * Occurrences from left to right, at one place the longest. One that `accept` takes hides what
   * overlaps it; one that it does not take hides nothing.
   */
  find(text: string, accept: (occurrence: Occurrence) => boolean): Occurrence[] {
    const found: Occurrence[] = [];
    if (this.#pattern === null) return found;
    this.#pattern.lastIndex = 0;
    for (;;) {
      const match = this.#pattern.exec(text);
      if (match === null) return found;
      const [content] = match;
      const occurrence = { content, start: match.index, end: match.index + content.length };
      if (accept(occurrence)) found.push(occurrence);
      else this.#pattern.lastIndex = match.index + 1;
    }
  }
}

function escapeRegExp(text: string): string {
  return text.replaceAll(/[.*+?^${}()|[\]\\/-]/g, '\\$&');
}
