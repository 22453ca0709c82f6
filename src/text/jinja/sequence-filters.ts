import { Bound } from './arguments.ts';
import { getItem } from './attributes.ts';
import type { Filter, FilterContext } from './filters.ts';
import { MarkedText } from './marked-text.ts';
import { binary, listMaxItems } from './operators.ts';
import { stringify } from './stringify.ts';
import { type Arguments, asInteger, defined, Dict, equals, failure, isTrue } from './values.ts';
import { iterate, List, noArguments, order, text, Tuple, Undefined, type Value } from './values.ts';

/** Jinja's filters over sequences. */
export const sequenceFilters: readonly [string, Filter][] = [
  ['first', (input) => iterate(input)[0] ?? emptyOrNone(input, 'first')],
  ['last', (input) => iterate(input).at(-1) ?? emptyOrNone(input, 'last')],
  ['join', join],
  ['reverse', reverse],
  ['sort', sort],
  ['dictsort', dictSort],
  ['unique', unique],
  ['min', (input, args) => extreme('min', input, args)],
  ['max', (input, args) => extreme('max', input, args)],
  ['sum', sum],
  ['batch', batch],
  ['slice', sliceEvenly],
  ['groupby', groupBy],
  ['map', map],
  ['select', (input, args, context) => select('select', input, args, context)],
  ['reject', (input, args, context) => select('reject', input, args, context)],
  ['selectattr', (input, args, context) => select('selectattr', input, args, context)],
  ['rejectattr', (input, args, context) => select('rejectattr', input, args, context)],
];

function emptyOrNone(input: Value, which: 'first' | 'last'): Value {
  return iterate(input).length > 0 ? null : new Undefined(`No ${which} item, sequence was empty.`);
}

/** What `attribute="a.b.0"` reads of an item; the item itself when there is none. */
function attributeOf(item: Value, attribute: Value, otherwise?: Value): Value {
  if (attribute === null) return item;
  const position = asInteger(attribute);
  const parts = position === undefined ? stringify(attribute).text.split('.') : [position];
  let value = item;
  for (const part of parts) {
    const index = typeof part === 'number' ? part : /^\d+$/.test(part) ? Number(part) : text(part);
    value = getItem(value, index);
    if (value instanceof Undefined && otherwise !== undefined) value = otherwise;
  }
  return value;
}

function ignoringCase(value: Value): Value {
  return value instanceof MarkedText ? text(value.text.toLowerCase()) : value;
}

function join(input: Value, args: Arguments): Value {
  const bound = new Bound('join', args, ['d', 'attribute']);
  const separator = bound.optional('d');
  const attribute = bound.optional('attribute') ?? null;
  const parts = iterate(input).map((item) => stringify(attributeOf(item, attribute)));
  return MarkedText.join(parts, separator === undefined ? text('') : stringify(separator));
}

function reverse(input: Value): Value {
  if (input instanceof MarkedText) return MarkedText.join(input.characters().toReversed());
  return new List(iterate(input).toReversed());
}

function sort(input: Value, args: Arguments): Value {
  const bound = new Bound('sort', args, ['reverse', 'case_sensitive', 'attribute']);
  const attribute = bound.optional('attribute') ?? null;
  const names: Value[] = attribute instanceof MarkedText ? attribute.splitAt(',') : [attribute];
  const key = bound.flag('case_sensitive', false) ? (value: Value) => value : ignoringCase;
  const keyed = iterate(input).map((item) => ({
    item,
    key: new List(names.map((name) => key(attributeOf(item, name)))),
  }));
  const direction = bound.flag('reverse', false) ? -1 : 1;
  keyed.sort((a, b) => direction * order(a.key, b.key));
  return new List(keyed.map(({ item }) => item));
}

function dictSort(input: Value, args: Arguments): Value {
  const bound = new Bound('dictsort', args, ['case_sensitive', 'by', 'reverse']);
  const by = bound.optional('by') === undefined ? 'key' : bound.text('by').text;
  if (by !== 'key' && by !== 'value') throw failure('You can only sort by either "key" or "value"');
  const key = bound.flag('case_sensitive', false) ? (value: Value) => value : ignoringCase;
  const direction = bound.flag('reverse', false) ? -1 : 1;
  if (!(input instanceof Dict)) throw failure('dictsort needs a mapping');
  const pick = (entry: [Value, Value]): Value => key(by === 'key' ? entry[0] : entry[1]);
  const entries = input.entries().sort((a, b) => direction * order(pick(a), pick(b)));
  return new List(entries.map((entry) => new Tuple(entry)));
}

function unique(input: Value, args: Arguments): Value {
  const bound = new Bound('unique', args, ['case_sensitive', 'attribute']);
  const key = bound.flag('case_sensitive', false) ? (value: Value) => value : ignoringCase;
  const attribute = bound.optional('attribute') ?? null;
  const seen = new Dict();
  return new List(
    iterate(input).filter((item) => {
      const id = key(attributeOf(item, attribute));
      if (seen.has(id)) return false;
      seen.set(id, true);
      return true;
    }),
  );
}

function extreme(which: 'min' | 'max', input: Value, args: Arguments): Value {
  const bound = new Bound(which, args, ['case_sensitive', 'attribute']);
  const key = bound.flag('case_sensitive', false) ? (value: Value) => value : ignoringCase;
  const attribute = bound.optional('attribute') ?? null;
  const direction = which === 'min' ? 1 : -1;
  const [first, ...rest] = iterate(input);
  if (first === undefined) return new Undefined('No aggregated item, sequence was empty.');
  const keyOf = (item: Value): Value => key(attributeOf(item, attribute));
  return rest.reduce(
    (best, item) => (direction * order(keyOf(item), keyOf(best)) < 0 ? item : best),
    first,
  );
}

function sum(input: Value, args: Arguments): Value {
  const bound = new Bound('sum', args, ['attribute', 'start']);
  const attribute = bound.optional('attribute') ?? null;
  const start = bound.optional('start') ?? 0;
  return iterate(input).reduce<Value>(
    (total, item) => binary('+', total, attributeOf(item, attribute)),
    start,
  );
}

function batch(input: Value, args: Arguments): Value {
  const bound = new Bound('batch', args, ['linecount', 'fill_with']);
  const size = bound.integer('linecount');
  const fill = bound.optional('fill_with') ?? null;
  if (size < 1 || size > listMaxItems) {
    throw failure(`batch needs a number from 1 to ${listMaxItems}`);
  }
  const items = iterate(input);
  const rows: Value[][] = [];
  for (let at = 0; at < items.length; at += size) rows.push(items.slice(at, at + size));
  const last = rows.at(-1);
  if (fill !== null && last !== undefined) while (last.length < size) last.push(fill);
  return new List(rows.map((row) => new List(row)));
}

function sliceEvenly(input: Value, args: Arguments): Value {
  const bound = new Bound('slice', args, ['slices', 'fill_with']);
  const count = bound.integer('slices');
  const fill = bound.optional('fill_with') ?? null;
  if (count < 1 || count > 1000) throw failure('slice needs a number from 1 to 1000');
  const items = iterate(input);
  const [size, extra] = [Math.floor(items.length / count), items.length % count];
  let from = 0;
  const columns = Array.from({ length: count }, (_, index) => {
    const end = from + size + (index < extra ? 1 : 0);
    const column = items.slice(from, end);
    from = end;
    return new List(fill !== null && index >= extra ? [...column, fill] : column);
  });
  return new List(columns);
}

function groupBy(input: Value, args: Arguments): Value {
  const bound = new Bound('groupby', args, ['attribute', 'default', 'case_sensitive']);
  const [attribute, otherwise] = [bound.required('attribute'), bound.optional('default')];
  const key = bound.flag('case_sensitive', false) ? (value: Value) => value : ignoringCase;
  const keyed = iterate(input).map((item) => {
    const grouper = attributeOf(item, attribute, otherwise);
    return { item, grouper, key: key(grouper) };
  });
  keyed.sort((a, b) => order(a.key, b.key));
  const groups: { key: Value; grouper: Value; items: Value[] }[] = [];
  for (const entry of keyed) {
    const last = groups.at(-1);
    if (last !== undefined && equals(last.key, entry.key)) last.items.push(entry.item);
    else groups.push({ key: entry.key, grouper: entry.grouper, items: [entry.item] });
  }
  const names = ['grouper', 'list'];
  return new List(groups.map((group) => new Tuple([group.grouper, new List(group.items)], names)));
}

function map(input: Value, args: Arguments, context: FilterContext): Value {
  const [name, ...rest] = args.positional;
  if (name !== undefined) {
    const filter = stringify(name).text;
    const inner: Arguments = { positional: rest, named: args.named };
    return new List(iterate(input).map((item) => context.filter(filter, item, inner)));
  }
  const bound = new Bound('map', args, ['attribute', 'default']);
  const [attribute, otherwise] = [bound.required('attribute'), bound.optional('default')];
  return new List(iterate(input).map((item) => attributeOf(item, attribute, otherwise)));
}

function select(
  which: 'select' | 'reject' | 'selectattr' | 'rejectattr',
  input: Value,
  args: Arguments,
  context: FilterContext,
): Value {
  const positional = [...args.positional];
  const attribute = which.endsWith('attr') ? positional.shift() : null;
  if (attribute === undefined) throw failure('Missing parameter for attribute name');
  const [test, ...rest] = positional;
  const inner: Arguments = { positional: rest, named: args.named };
  const accepts = (item: Value): boolean => {
    const value = attributeOf(item, attribute);
    return test === undefined
      ? isTrue(value)
      : context.test(stringify(defined(test)).text, value, rest.length > 0 ? inner : noArguments);
  };
  const wanted = which.startsWith('select');
  return new List(iterate(input).filter((item) => accepts(item) === wanted));
}
