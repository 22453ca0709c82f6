import { Bound } from './arguments.ts';
import type { Filter } from './filters.ts';
import { MarkedText } from './marked-text.ts';
import { formatPercent } from './percent-format.ts';
import { stringify } from './stringify.ts';
import { capitalize, pad, replaceText } from './text-methods.ts';
import { type Arguments, Dict, failure, iterate, text, Tuple, type Value } from './values.ts';
import { innerRange, isWhitespace } from './whitespace.ts';

/** Jinja's filters that make text. Nothing is escaped for HTML: transformers has autoescape off. */
export const textFilters: readonly [string, Filter][] = [
  ['upper', (input) => stringify(input).mapText((value) => value.toUpperCase())],
  ['lower', (input) => stringify(input).mapText((value) => value.toLowerCase())],
  ['capitalize', (input) => stringify(input).mapText(capitalize)],
  ['title', (input) => stringify(input).mapText(titleCase)],
  ['trim', trim],
  ['replace', replace],
  ['indent', indent],
  ['truncate', truncate],
  ['center', center],
  ['format', format],
  ['wordcount', (input) => (stringify(input).text.match(/[\p{L}\p{N}_]+/gu) ?? []).length],
  ['urlencode', urlEncode],
  ['safe', (input) => stringify(input)],
  ['escape', (input) => escapeHtml(stringify(input))],
  ['e', (input) => escapeHtml(stringify(input))],
  ['forceescape', (input) => escapeHtml(stringify(input))],
];

function titleCase(value: string): string {
  const words = value.split(/([-\s({[<]+)/u).filter((word) => word !== '');
  return words.map(capitalize).join('');
}

function trim(input: Value, args: Arguments): Value {
  const self = stringify(input);
  const chars = new Bound('trim', args, ['chars']).optional('chars') ?? null;
  const dropped = chars === null ? null : stringify(chars).text;
  const drop = dropped === null ? isWhitespace : (unit: string) => dropped.includes(unit);
  return self.slice(...innerRange(self.text, drop, { left: true, right: true }));
}

function replace(input: Value, args: Arguments): Value {
  const bound = new Bound('replace', args, ['old', 'new', 'count']);
  const count = bound.optional('count') ?? null;
  return replaceText(
    stringify(input),
    stringify(bound.required('old')),
    stringify(bound.required('new')),
    count === null ? -1 : bound.integer('count'),
  );
}

function indent(input: Value, args: Arguments): Value {
  const bound = new Bound('indent', args, ['width', 'first', 'blank']);
  const width = bound.optional('width') ?? 4;
  const step = width instanceof MarkedText ? width : text(' ').repeat(bound.integer('width', 4));
  const [first, ...rest] = stringify(input).splitAt('\n');
  const withBlank = bound.flag('blank', false);
  const lines = rest.map((line) =>
    line.text === '' && !withBlank ? line : MarkedText.join([step, line]),
  );
  const start = first ?? text('');
  const head = bound.flag('first', false) ? MarkedText.join([step, start]) : start;
  return MarkedText.join([head, ...lines], text('\n'));
}

function truncate(input: Value, args: Arguments): Value {
  const bound = new Bound('truncate', args, ['length', 'killwords', 'end', 'leeway']);
  const length = bound.integer('length', 255);
  const end = bound.optional('end') === undefined ? text('...') : bound.text('end');
  const leeway = bound.optional('leeway') ?? null;
  if (length < end.codePoints) throw failure(`expected length >= ${end.codePoints}, got ${length}`);
  const self = stringify(input);
  if (self.codePoints <= length + (leeway === null ? 5 : bound.integer('leeway'))) return self;
  const kept = MarkedText.join(self.characters().slice(0, length - end.codePoints));
  if (bound.flag('killwords', false)) return MarkedText.join([kept, end]);
  const space = kept.text.lastIndexOf(' ');
  return MarkedText.join([space < 0 ? kept : kept.slice(0, space), end]);
}

function center(input: Value, args: Arguments): Value {
  const width = new Bound('center', args, ['width']).integer('width', 80);
  return pad(stringify(input), width, text(' '), 'center');
}

function format(input: Value, args: Arguments): Value {
  if (args.named.size === 0) return formatPercent(stringify(input), new Tuple(args.positional));
  if (args.positional.length > 0) {
    throw failure("can't handle positional and keyword arguments at the same time");
  }
  const named = Array.from(args.named, ([key, value]): [Value, Value] => [text(key), value]);
  return formatPercent(stringify(input), Dict.of(named));
}

function urlEncode(input: Value): Value {
  if (input instanceof MarkedText) return percentEncode(input, '/');
  const pairs =
    input instanceof Dict ? input.entries() : iterate(input).map((pair) => iterate(pair));
  const joined = pairs.map(([key = null, value = null]) =>
    MarkedText.join([percentEncode(key, '%2F'), text('='), percentEncode(value, '%2F')]),
  );
  return MarkedText.join(joined, text('&'));
}

/** For a path where slashes stay, else for a query, where spaces become plus signs. */
function percentEncode(value: Value, slash: '/' | '%2F'): MarkedText {
  const self = stringify(value);
  const encoded = encodeURIComponent(self.text.replace(/\p{Cs}/gu, '\ufffd'))
    .replace(/[!'()*]/g, (unit) => `%${unit.charCodeAt(0).toString(16).toUpperCase()}`)
    .replaceAll('%2F', slash);
  return self.derive(slash === '/' ? encoded : encoded.replaceAll('%20', '+'));
}

const htmlEscapes: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  "'": '&#39;',
  '"': '&#34;',
};

function escapeHtml(self: MarkedText): MarkedText {
  return self.derive(self.text.replace(/[&<>'"]/g, (unit) => htmlEscapes[unit] ?? unit));
}
