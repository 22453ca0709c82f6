import { createJoiner } from './token-joiners.ts';
import type { Tokenizer } from './tokenizer.ts';

/**
 * Ids to text as they come: pieces never show half a character, and joined they are the decoded
 * whole.
 */
export interface Detokenizer {
  push(id: number): string;
  /** What was held back. */
  finish(): string;
}

/**
 * The detokenizer that fits a tokenizer's decoder. `resumeFrom`: ids that came before, whose pieces
 * somebody has already sent; the next piece goes on where those ended.
 */
export function createDetokenizer(
  tokenizer: Tokenizer,
  skipSpecial: boolean,
  resumeFrom: readonly number[] = [],
): Detokenizer {
  const joiner = createJoiner(tokenizer);
  const push = (id: number): string => {
    if (skipSpecial && tokenizer.isSpecial(id)) return '';
    const token = tokenizer.token(id);
    return token === null ? '' : joiner.push(token);
  };
  resumeFrom.forEach(push);
  return { push, finish: () => joiner.finish() };
}
