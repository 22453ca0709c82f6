import { CideryError } from '../../base/error.ts';
import { limits } from '../../base/limits.ts';
import { indexOf } from './text-search.ts';

const surrogate = /[\ud800-\udfff]/;
const noMarks: readonly number[] = [];

/**
 * A string of the template language that knows which of its parts came from outside the template
 * (messages, tools, names). Every operation keeps that knowledge, so after rendering a control
 * token that the template wrote can be told from one that somebody wrote into a message.
 *
 * Offsets are UTF-16 units, except in the methods that say code points (which is how Python
 * counts).
 */
export class MarkedText {
  readonly text: string;
  /** Parts from outside: sorted, disjoint [start, end) pairs, flat. */
  readonly marks: readonly number[];

  private constructor(text: string, marks: readonly number[]) {
    if (text.length > limits.templateOutputMaxCharacters) throw tooLong();
    this.text = text;
    this.marks = marks;
  }

  /** Text that the template itself holds or made. */
  static inside(text: string): MarkedText {
    return new MarkedText(text, noMarks);
  }

  /** Text from outside the template, all of it. */
  static outside(text: string): MarkedText {
    return new MarkedText(text, text === '' ? noMarks : [0, text.length]);
  }

  static join(parts: readonly MarkedText[], separator?: MarkedText): MarkedText {
    const texts: string[] = [];
    const marks: number[] = [];
    let length = 0;
    const append = (part: MarkedText): void => {
      for (let at = 0; at < part.marks.length; at += 2) {
        const start = length + (part.marks[at] ?? 0);
        const end = length + (part.marks[at + 1] ?? 0);
        if (marks.length > 0 && marks[marks.length - 1] === start) marks[marks.length - 1] = end;
        else marks.push(start, end);
      }
      texts.push(part.text);
      length += part.text.length;
      if (length > limits.templateOutputMaxCharacters) throw tooLong();
    };
    parts.forEach((part, index) => {
      if (index > 0 && separator !== undefined) append(separator);
      append(part);
    });
    return new MarkedText(texts.join(''), marks.length === 0 ? noMarks : marks);
  }

  get hasMarks(): boolean {
    return this.marks.length > 0;
  }

  /** `text` made from this one in a way that keeps no positions: from outside if any of this is. */
  derive(text: string): MarkedText {
    return this.hasMarks ? MarkedText.outside(text) : MarkedText.inside(text);
  }

  /**
   * The same text after a change of characters, with its marks where the length stayed the same.
   */
  mapText(change: (text: string) => string): MarkedText {
    const changed = change(this.text);
    if (changed.length !== this.text.length) return this.derive(changed);
    return new MarkedText(changed, this.marks);
  }

  /** UTF-16 units [start, end). */
  slice(start: number, end: number = this.text.length): MarkedText {
    const text = this.text.slice(start, end);
    if (!this.hasMarks) return new MarkedText(text, noMarks);
    const marks: number[] = [];
    for (let at = 0; at < this.marks.length; at += 2) {
      const from = Math.max(this.marks[at] ?? 0, start);
      const to = Math.min(this.marks[at + 1] ?? 0, end);
      if (from < to) marks.push(from - start, to - start);
    }
    return new MarkedText(text, marks);
  }

  /** This text with the unit ranges (sorted, flat pairs) taken out of the marks. */
  withoutMarks(ranges: readonly number[]): MarkedText {
    const parts: MarkedText[] = [];
    let done = 0;
    for (let at = 0; at < ranges.length; at += 2) {
      const [start, end] = [ranges[at] ?? 0, ranges[at + 1] ?? 0];
      parts.push(this.slice(done, start), MarkedText.inside(this.text.slice(start, end)));
      done = end;
    }
    parts.push(this.slice(done));
    return MarkedText.join(parts);
  }

  repeat(count: number): MarkedText {
    if (count <= 0 || this.text === '') return MarkedText.inside('');
    if (count * this.text.length > limits.templateOutputMaxCharacters) throw tooLong();
    if (!this.hasMarks) return MarkedText.inside(this.text.repeat(count));
    return MarkedText.join(Array.from({ length: count }, () => this));
  }

  /** Length in code points. */
  get codePoints(): number {
    if (!surrogate.test(this.text)) return this.text.length;
    let count = 0;
    for (const _ of this.text) count += 1;
    return count;
  }

  /** The text as single code points. */
  characters(): MarkedText[] {
    const parts: MarkedText[] = [];
    let at = 0;
    for (const character of this.text) {
      parts.push(this.slice(at, at + character.length));
      at += character.length;
    }
    return parts;
  }

  /** Pieces between the occurrences of a separator that is not empty; at most `limit` cuts. */
  splitAt(separator: string, limit: number = Infinity): MarkedText[] {
    const pieces: MarkedText[] = [];
    let from = 0;
    while (pieces.length < limit) {
      const at = indexOf(this.text, separator, from);
      if (at < 0) break;
      pieces.push(this.slice(from, at));
      from = at + separator.length;
    }
    pieces.push(this.slice(from));
    return pieces;
  }
}

function tooLong(): CideryError {
  return new CideryError(
    'template_too_large',
    `the chat template made a text of more than ${limits.templateOutputMaxCharacters} characters`,
    { hint: "send fewer or shorter messages; if they are short, the model's template is broken" },
  );
}
