import { Bound } from './arguments.ts';
import { attribute } from './attributes.ts';
import { MarkedText } from './marked-text.ts';
import { numberFilters } from './number-filters.ts';
import { sequenceFilters } from './sequence-filters.ts';
import { stringify } from './stringify.ts';
import { textFilters } from './text-filters.ts';
import { toJson } from './to-json.ts';
import {
  asInteger,
  defined,
  Dict,
  failure,
  iterate,
  List,
  lengthOf,
  text,
  Tuple,
} from './values.ts';
import { type Arguments, isTrue, Undefined, type Value } from './values.ts';

/** A filter, and what a filter may need of the interpreter. */
export type Filter = (input: Value, args: Arguments, context: FilterContext) => Value;

export interface FilterContext {
  filter(name: string, input: Value, args: Arguments): Value;
  test(name: string, input: Value, args: Arguments): boolean;
}

const basicFilters: readonly [string, Filter][] = [
  ['default', defaultFilter],
  ['d', defaultFilter],
  ['length', (input) => lengthOf(input)],
  ['count', (input) => lengthOf(input)],
  ['string', (input) => stringify(input)],
  ['list', (input) => new List(iterate(input))],
  ['items', items],
  ['attr', attr],
  ['tojson', tojson],
];

/**
 * Jinja's filters, and transformers' own `tojson`. Left out, because no chat template can want
 * them: filesizeformat, pprint, random, striptags, urlize, wordwrap, xmlattr and the asynchronous
 * ones. Where Jinja gives a generator, this gives a list.
 */
export const filters: ReadonlyMap<string, Filter> = new Map([
  ...basicFilters,
  ...textFilters,
  ...numberFilters,
  ...sequenceFilters,
]);

function defaultFilter(input: Value, args: Arguments): Value {
  const bound = new Bound('default', args, ['default_value', 'boolean']);
  const isMissing = input instanceof Undefined || (bound.flag('boolean', false) && !isTrue(input));
  if (!isMissing) return input;
  const value = bound.optional('default_value');
  return value === undefined ? text('') : value;
}

function attr(input: Value, args: Arguments): Value {
  const name = new Bound('attr', args, ['name']).text('name').text;
  const value = attribute(defined(input), name);
  return value === undefined ? new Undefined(`no attribute '${name}'`) : value;
}

function items(input: Value): Value {
  if (input instanceof Undefined) return new List([]);
  if (!(input instanceof Dict)) throw failure('Can only get item pairs from a mapping.');
  return new List(input.entries().map((entry) => new Tuple(entry)));
}

/** As transformers has it: json.dumps with ensure_ascii off, and no HTML escapes. */
function tojson(input: Value, args: Arguments): Value {
  const bound = new Bound('tojson', args, ['ensure_ascii', 'indent', 'separators', 'sort_keys']);
  const indent = bound.optional('indent') ?? null;
  const width = asInteger(indent);
  const separators = bound.optional('separators') ?? null;
  const [item, key] = separators === null ? [] : iterate(separators);
  return toJson(input, {
    ensureAscii: bound.flag('ensure_ascii', false),
    sortKeys: bound.flag('sort_keys', false),
    indent:
      indent instanceof MarkedText
        ? indent.text
        : width === undefined
          ? null
          : ' '.repeat(Math.min(Math.max(width, 0), 100)),
    itemSeparator: item === undefined ? text(indent === null ? ', ' : ',') : stringify(item),
    keySeparator: key === undefined ? text(': ') : stringify(key),
  });
}
