import { randomBytes } from 'node:crypto';
import { invariant } from '../base/error.ts';
import { ControlTokenFinder, type Occurrence } from './control-tokens.ts';
import type { RenderedTemplate } from './template-job.ts';
import type { AddedToken, Tokenizer } from './tokenizer.ts';

/**
 * Encodes text that is partly a stranger's: a control token in it, whole or in part, is the text it
 * is, and only those that stand wholly outside the stranger's parts are control.
 *
 * Most texts hold no such token and are encoded by the model's own tokenizer. For the others there
 * is a second one (made at the first of them) in which the control tokens go by secret names. The
 * real ones in the text are renamed to those, so that one pass over the whole text treats the
 * forged ones exactly as the tokenizer treats any text, with its neighbours, and the real ones as
 * always.
 */
export class PromptEncoder {
  readonly #tokenizer: Tokenizer;
  readonly #control: readonly AddedToken[];
  readonly #finder: ControlTokenFinder;
  #guarded: { tokenizer: Tokenizer; names: ReadonlyMap<string, string> } | null = null;

  constructor(tokenizer: Tokenizer, control: readonly AddedToken[]) {
    this.#tokenizer = tokenizer;
    this.#control = control;
    this.#finder = new ControlTokenFinder(control.map(({ content }) => content));
  }

  /** Nothing is put around the text: a template writes its own BOS. */
  async encode({ text, outside }: RenderedTemplate): Promise<number[]> {
    let isForged = false;
    const real = this.#finder.find(text, (occurrence) => {
      if (!touches(outside, occurrence)) return true;
      isForged = true;
      return false;
    });
    if (!isForged) return this.#tokenizer.encode(text, false);
    this.#guarded ??= this.#makeGuarded();
    return this.#guarded.tokenizer.encode(renamed(text, real, this.#guarded.names), false);
  }

  /** Ids of a text that is a stranger's from end to end. */
  encodeOrdinary(text: string): Promise<number[]> {
    return this.encode({ text, outside: [0, text.length] });
  }

  #makeGuarded() {
    const secret = randomBytes(16).toString('hex');
    const names = new Map(
      this.#control.map(({ content }, index) => [content, `\ue000${secret}.${index}\ue001`]),
    );
    return { tokenizer: this.#tokenizer.renamed(names), names };
  }
}

function renamed(
  text: string,
  occurrences: readonly Occurrence[],
  names: ReadonlyMap<string, string>,
): string {
  const parts: string[] = [];
  let done = 0;
  for (const { content, start, end } of occurrences) {
    const name = names.get(content);
    invariant(name !== undefined, 'every control token has a secret name');
    parts.push(text.slice(done, start), name);
    done = end;
  }
  parts.push(text.slice(done));
  return parts.join('');
}

/** Whether the occurrence shares a character with the marked parts (sorted, flat pairs). */
function touches(marks: readonly number[], { start, end }: Occurrence): boolean {
  // The first pair that ends after the start, by bisection.
  let [low, high] = [0, marks.length / 2];
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    if ((marks[middle * 2 + 1] ?? 0) > start) high = middle;
    else low = middle + 1;
  }
  return low * 2 < marks.length && (marks[low * 2] ?? 0) < end;
}
