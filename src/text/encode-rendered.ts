import type { RenderedTemplate } from './template-job.ts';
import type { AddedToken, Tokenizer } from './tokenizer.ts';

/**
 * Ids of a rendered chat in which only the template's own control tokens are control: one that somebody wrote into a
 * message, in whole or in part, is encoded as the text it is. Chats without such text encode exactly as Hugging Face's
 * tokenizers encode the rendered string.
 */
export async function encodeRendered(
  tokenizer: Tokenizer,
  { text, outside }: RenderedTemplate,
): Promise<number[]> {
  const control = tokenizer.added.filter(({ special }) => special);
  const found = occurrences(text, control);
  const isForged = ({ start, end }: Occurrence) => touches(outside, start, end);
  if (!found.some(isForged)) return tokenizer.encode(text, false);
  const ids: number[] = [];
  let from = 0;
  for (const own of found.filter((occurrence) => !isForged(occurrence))) {
    if (own.start > from)
      ids.push(...(await tokenizer.encodeOrdinary(text.slice(from, own.start))));
    ids.push(own.id);
    from = own.end;
  }
  if (from < text.length) ids.push(...(await tokenizer.encodeOrdinary(text.slice(from))));
  return ids;
}

interface Occurrence {
  readonly id: number;
  readonly start: number;
  readonly end: number;
}

/** Occurrences of the tokens, leftmost first, of those the longest, none overlapping. */
function occurrences(text: string, tokens: readonly AddedToken[]): Occurrence[] {
  const contents = tokens.filter(({ content }) => content !== '');
  if (contents.length === 0) return [];
  const idOf = new Map(contents.map(({ content, id }) => [content, id]));
  const alternatives = [...idOf.keys()].sort((a, b) => b.length - a.length).map(escapeRegExp);
  const pattern = new RegExp(alternatives.join('|'), 'g');
  return [...text.matchAll(pattern)].flatMap((match) => {
    const id = idOf.get(match[0]);
    return id === undefined ? [] : [{ id, start: match.index, end: match.index + match[0].length }];
  });
}

function escapeRegExp(text: string): string {
  return text.replaceAll(/[.*+?^${}()|[\]\\/-]/g, '\\$&');
}

/** Whether [start, end) shares a character with the marked parts. */
function touches(marks: readonly number[], start: number, end: number): boolean {
  for (let at = 0; at < marks.length; at += 2) {
    const from = marks[at] ?? 0;
    if (from >= end) return false;
    if ((marks[at + 1] ?? 0) > start) return true;
  }
  return false;
}
