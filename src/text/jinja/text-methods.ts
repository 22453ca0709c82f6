import { Bound } from './arguments.ts';
import { MarkedText } from './marked-text.ts';
import { indexOf, lastIndexOf } from './text-search.ts';
import { partition, rightSplit, split, splitLines } from './text-splitting.ts';
import { asInteger, failure, iterate, text, Tuple } from './values.ts';
import { type Arguments, typeName, type Value } from './values.ts';
import { innerRange, isWhitespace, whitespaceClass } from './whitespace.ts';

type Method = (self: MarkedText, args: Arguments) => Value;

/**
 * Python's methods of str, as far as chat templates can want them (`format` is in attributes.ts).
 */
export const textMethods: ReadonlyMap<string, Method> = new Map<string, Method>([
  ['upper', (self) => self.mapText((value) => value.toUpperCase())],
  ['lower', (self) => self.mapText((value) => value.toLowerCase())],
  ['casefold', (self) => self.mapText((value) => value.toLowerCase().replaceAll('ß', 'ss'))],
  ['capitalize', (self) => self.mapText(capitalize)],
  ['title', (self) => self.mapText(titleCase)],
  ['swapcase', (self) => self.mapText(swapCase)],
  ['strip', (self, args) => strip('strip', self, args, { left: true, right: true })],
  ['lstrip', (self, args) => strip('lstrip', self, args, { left: true, right: false })],
  ['rstrip', (self, args) => strip('rstrip', self, args, { left: false, right: true })],
  ['split', split],
  ['rsplit', rightSplit],
  ['splitlines', splitLines],
  ['partition', (self, args) => partition('partition', self, args, false)],
  ['rpartition', (self, args) => partition('rpartition', self, args, true)],
  ['startswith', (self, args) => affix('startswith', self, args)],
  ['endswith', (self, args) => affix('endswith', self, args)],
  ['removeprefix', (self, args) => remove('removeprefix', self, args)],
  ['removesuffix', (self, args) => remove('removesuffix', self, args)],
  ['replace', replace],
  ['join', join],
  ['find', (self, args) => find('find', self, args)],
  ['rfind', (self, args) => find('rfind', self, args)],
  ['index', (self, args) => found(find('index', self, args))],
  ['rindex', (self, args) => found(find('rindex', self, args))],
  ['count', count],
  ['zfill', (self, args) => zeroFill(self, args)],
  ['ljust', (self, args) => justify('ljust', self, args)],
  ['rjust', (self, args) => justify('rjust', self, args)],
  ['center', (self, args) => justify('center', self, args)],
  ['isdigit', (self) => /^[\p{Nd}\u00b2\u00b3\u00b9\u2070-\u2089]+$/u.test(self.text)],
  ['isdecimal', (self) => /^\p{Nd}+$/u.test(self.text)],
  ['isnumeric', (self) => /^\p{N}+$/u.test(self.text)],
  ['isalpha', (self) => /^\p{L}+$/u.test(self.text)],
  ['isalnum', (self) => /^[\p{L}\p{N}]+$/u.test(self.text)],
  ['isspace', (self) => new RegExp(`^[${whitespaceClass}]+$`).test(self.text)],
  // oxlint-disable-next-line no-control-regex -- ASCII is exactly this
  ['isascii', (self) => /^[\x00-\x7f]*$/.test(self.text)],
  ['isupper', (self) => isUpper(self.text)],
  ['islower', (self) => isLower(self.text)],
]);

export function isUpper(value: string): boolean {
  return /\p{Lu}/u.test(value) && !/[\p{Ll}\p{Lt}]/u.test(value);
}

export function isLower(value: string): boolean {
  return /\p{Ll}/u.test(value) && !/[\p{Lu}\p{Lt}]/u.test(value);
}

/** The first character in upper case, the rest in lower case. */
export function capitalize(value: string): string {
  const first = String.fromCodePoint(...Array.from(value.slice(0, 2), codePoint).slice(0, 1));
  return value === '' ? '' : first.toUpperCase() + value.slice(first.length).toLowerCase();
}

function codePoint(character: string): number {
  return character.codePointAt(0) ?? 0;
}

function titleCase(value: string): string {
  return value.replace(/[\p{L}\p{Mn}]+/gu, capitalize);
}

function swapCase(value: string): string {
  return Array.from(value, (character) =>
    isUpper(character) ? character.toLowerCase() : character.toUpperCase(),
  ).join('');
}

function strip(
  name: string,
  self: MarkedText,
  args: Arguments,
  sides: { left: boolean; right: boolean },
): MarkedText {
  const chars = new Bound(name, args, ['chars']).optional('chars') ?? null;
  if (chars === null) return self.slice(...innerRange(self.text, isWhitespace, sides));
  if (!(chars instanceof MarkedText)) throw failure(`${name} arg must be None or str`);
  if (chars.codePoints === chars.text.length) {
    return self.slice(...innerRange(self.text, (unit) => chars.text.includes(unit), sides));
  }
  const dropped = new Set(chars.text);
  const characters = self.characters();
  let [start, end] = [0, characters.length];
  const drops = (at: number): boolean => dropped.has(characters[at]?.text ?? '');
  if (sides.left) while (start < end && drops(start)) start += 1;
  if (sides.right) while (end > start && drops(end - 1)) end -= 1;
  return MarkedText.join(characters.slice(start, end));
}

function affix(name: 'startswith' | 'endswith', self: MarkedText, args: Arguments): boolean {
  const bound = new Bound(name, args, ['affix', 'start', 'end']);
  const affixes = bound.required('affix');
  const [start, end] = codePointRange(self, bound);
  const part = start === 0 && end === Infinity ? self : sliceCodePoints(self, start, end);
  const matches = (value: Value): boolean => {
    if (!(value instanceof MarkedText)) {
      throw failure(`${name} first arg must be str or a tuple of str, not ${typeName(value)}`);
    }
    return name === 'startswith'
      ? part.text.startsWith(value.text)
      : part.text.endsWith(value.text);
  };
  return affixes instanceof Tuple ? affixes.items.some(matches) : matches(affixes);
}

/** Start and end in code points, as Python's slices count them. */
function codePointRange(self: MarkedText, bound: Bound): [number, number] {
  const [first, last] = [bound.optional('start') ?? null, bound.optional('end') ?? null];
  if (first === null && last === null) return [0, Infinity];
  const length = self.codePoints;
  const resolve = (value: Value, otherwise: number): number => {
    if (value === null) return otherwise;
    const position = asInteger(value);
    if (position === undefined) throw failure('slice indices must be integers or None');
    return position < 0 ? Math.max(0, position + length) : position;
  };
  return [resolve(first, 0), resolve(last, length)];
}

function sliceCodePoints(self: MarkedText, start: number, end: number): MarkedText {
  return MarkedText.join(self.characters().slice(start, end));
}

function remove(name: 'removeprefix' | 'removesuffix', self: MarkedText, args: Arguments): Value {
  const { text: affixText } = new Bound(name, args, ['affix']).text('affix');
  if (affixText === '') return self;
  if (name === 'removeprefix') {
    return self.text.startsWith(affixText) ? self.slice(affixText.length) : self;
  }
  return self.text.endsWith(affixText) ? self.slice(0, self.text.length - affixText.length) : self;
}

function replace(self: MarkedText, args: Arguments): Value {
  const bound = new Bound('replace', args, ['old', 'new', 'count']);
  return replaceText(self, bound.text('old'), bound.text('new'), bound.integer('count', -1));
}

/** Python's str.replace; a negative count means all. */
export function replaceText(
  self: MarkedText,
  old: MarkedText,
  replacement: MarkedText,
  times: number,
): MarkedText {
  const limit = times < 0 ? Infinity : times;
  if (old.text !== '') return MarkedText.join(self.splitAt(old.text, limit), replacement);
  const characters = self.characters();
  const gaps = Math.min(limit, characters.length + 1);
  const parts = characters.flatMap((character, at) =>
    at < gaps ? [replacement, character] : [character],
  );
  if (gaps > characters.length) parts.push(replacement);
  return MarkedText.join(parts);
}

function join(self: MarkedText, args: Arguments): Value {
  const items = iterate(new Bound('join', args, ['iterable']).required('iterable'));
  const parts = items.map((item, at) => {
    if (item instanceof MarkedText) return item;
    throw failure(`sequence item ${at}: expected str instance, ${typeName(item)} found`);
  });
  return MarkedText.join(parts, self);
}

function find(name: string, self: MarkedText, args: Arguments): number {
  const bound = new Bound(name, args, ['sub', 'start', 'end']);
  const needle = bound.text('sub').text;
  const [start, end] = codePointRange(self, bound);
  const part = start === 0 && end === Infinity ? self : sliceCodePoints(self, start, end);
  const at = (name.startsWith('r') ? lastIndexOf : indexOf)(part.text, needle);
  return at < 0 ? -1 : start + part.slice(0, at).codePoints;
}

function found(position: number): number {
  if (position < 0) throw failure('substring not found');
  return position;
}

function count(self: MarkedText, args: Arguments): Value {
  const bound = new Bound('count', args, ['sub', 'start', 'end']);
  const needle = bound.text('sub').text;
  const [start, end] = codePointRange(self, bound);
  const part = start === 0 && end === Infinity ? self : sliceCodePoints(self, start, end);
  return needle === '' ? part.codePoints + 1 : part.splitAt(needle).length - 1;
}

function zeroFill(self: MarkedText, args: Arguments): Value {
  const missing = new Bound('zfill', args, ['width']).integer('width') - self.codePoints;
  const sign = /^[+-]/.test(self.text) ? 1 : 0;
  return MarkedText.join([self.slice(0, sign), text('0').repeat(missing), self.slice(sign)]);
}

function justify(name: 'ljust' | 'rjust' | 'center', self: MarkedText, args: Arguments): Value {
  const bound = new Bound(name, args, ['width', 'fillchar']);
  const fill = bound.optional('fillchar') === undefined ? text(' ') : bound.text('fillchar');
  if (fill.codePoints !== 1) throw failure('The fill character must be exactly one character long');
  return pad(self, bound.integer('width'), fill, name);
}

/** Text of at least `width` code points, filled on the side that is away from its alignment. */
export function pad(
  self: MarkedText,
  width: number,
  fill: MarkedText,
  align: 'ljust' | 'rjust' | 'center',
): MarkedText {
  const missing = width - self.codePoints;
  if (missing <= 0) return self;
  const half = Math.floor(missing / 2) + (missing & width & 1);
  const left = align === 'ljust' ? 0 : align === 'rjust' ? missing : half;
  return MarkedText.join([fill.repeat(left), self, fill.repeat(missing - left)]);
}
