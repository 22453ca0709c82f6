import { Bound } from './arguments.ts';
import { MarkedText } from './marked-text.ts';
import { indexOf, lastIndexOf } from './text-search.ts';
import { type Arguments, failure, List, text, Tuple, typeName, type Value } from './values.ts';
import { innerRange, isWhitespace, whitespaceClass } from './whitespace.ts';

function splitArguments(
  name: string,
  args: Arguments,
): { separator: string | null; limit: number } {
  const bound = new Bound(name, args, ['sep', 'maxsplit']);
  const separator = bound.optional('sep') ?? null;
  const limit = bound.integer('maxsplit', -1);
  if (separator !== null && !(separator instanceof MarkedText)) {
    throw failure(`must be str or None, not ${typeName(separator)}`);
  }
  if (separator?.text === '') throw failure('empty separator');
  return { separator: separator?.text ?? null, limit: limit < 0 ? Infinity : limit };
}

export function split(self: MarkedText, args: Arguments): Value {
  const { separator, limit } = splitArguments('split', args);
  if (separator !== null) return new List(self.splitAt(separator, limit));
  const pieces: MarkedText[] = [];
  const words = new RegExp(`[^${whitespaceClass}]+`, 'g');
  for (const match of self.text.matchAll(words)) {
    if (pieces.length === limit) {
      const [, end] = innerRange(self.text, isWhitespace, { left: false, right: true });
      pieces.push(
        self.slice(match.index, limit === 0 ? self.text.length : Math.max(end, match.index)),
      );
      break;
    }
    pieces.push(self.slice(match.index, match.index + match[0].length));
  }
  return new List(pieces);
}

export function rightSplit(self: MarkedText, args: Arguments): Value {
  const { separator, limit } = splitArguments('rsplit', args);
  if (separator === null && limit === Infinity) return split(self, args);
  if (separator === null) return rightSplitWords(self, limit);
  const pieces: MarkedText[] = [];
  let end = self.text.length;
  while (pieces.length < limit) {
    const at = lastIndexOf(self.text, separator, end - separator.length);
    if (at < 0) break;
    pieces.push(self.slice(at + separator.length, end));
    end = at;
  }
  pieces.push(self.slice(0, end));
  return new List(pieces.toReversed());
}

function rightSplitWords(self: MarkedText, limit: number): Value {
  const words = [...self.text.matchAll(new RegExp(`[^${whitespaceClass}]+`, 'g'))];
  const cut = Math.max(0, words.length - limit);
  const tail = words.slice(cut).map((word) => self.slice(word.index, word.index + word[0].length));
  const last = words[cut - 1];
  if (last === undefined) return new List(tail);
  return new List([self.slice(words[0]?.index ?? 0, last.index + last[0].length), ...tail]);
}

export function splitLines(self: MarkedText, args: Arguments): Value {
  const keep = new Bound('splitlines', args, ['keepends']).flag('keepends', false);
  const pieces: MarkedText[] = [];
  let from = 0;
  // oxlint-disable-next-line no-control-regex -- Python ends lines at these separators too
  const lineEnds = /\r\n|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]/g;
  for (const match of self.text.matchAll(lineEnds)) {
    const end = match.index + match[0].length;
    pieces.push(self.slice(from, keep ? end : match.index));
    from = end;
  }
  if (from < self.text.length) pieces.push(self.slice(from));
  return new List(pieces);
}

export function partition(name: string, self: MarkedText, args: Arguments, last: boolean): Value {
  const separator = new Bound(name, args, ['sep']).text('sep');
  if (separator.text === '') throw failure('empty separator');
  const at = (last ? lastIndexOf : indexOf)(self.text, separator.text);
  if (at < 0) return new Tuple(last ? [text(''), text(''), self] : [self, text(''), text('')]);
  const end = at + separator.text.length;
  return new Tuple([self.slice(0, at), self.slice(at, end), self.slice(end)]);
}
