import { Bound } from './arguments.ts';
import { formatBraces } from './brace-format.ts';
import { MarkedText } from './marked-text.ts';
import { slicePositions } from './operators.ts';
import { textMethods } from './text-methods.ts';
import { type Arguments, asInteger, Callable, defined, Dict, equals, failure } from './values.ts';
import { Float, List, Loop, Namespace, Tuple, typeName, Undefined, type Value } from './values.ts';

/** `object.name`: an attribute, else an item of that name, as Jinja looks it up. */
export function getAttribute(object: Value, name: string): Value {
  const value = attribute(defined(object), name);
  if (value !== undefined) return value;
  const found = item(object, MarkedText.inside(name));
  return found === undefined ? missing(object, name) : found;
}

/** `object[index]`: an item, else an attribute of that name. */
export function getItem(object: Value, index: Value): Value {
  const value = item(defined(object), index);
  if (value !== undefined) return value;
  const name = index instanceof MarkedText ? index.text : undefined;
  const found = name === undefined ? undefined : attribute(object, name);
  if (found !== undefined) return found;
  return missing(object, name ?? `element ${String(asInteger(index) ?? '')}`);
}

function missing(object: Value, name: string): Undefined {
  const type = object === null ? 'None' : `${typeName(object)} object`;
  if (name.startsWith('element')) return new Undefined(`${type} has no ${name}`);
  return new Undefined(`'${type}' has no attribute '${name}'`);
}

function item(object: Value, index: Value): Value | undefined {
  if (object instanceof Dict) return hashable(index) ? object.get(index) : undefined;
  if (object instanceof Namespace) {
    return index instanceof MarkedText ? object.attributes.get(index.text) : undefined;
  }
  const position = asInteger(index);
  if (position === undefined) return undefined;
  if (object instanceof Tuple) return object.items.at(position);
  if (object instanceof List) return object.view === '' ? object.items.at(position) : undefined;
  if (!(object instanceof MarkedText)) return undefined;
  const characters = object.characters();
  return characters.at(position);
}

function hashable(value: Value): boolean {
  return !(value instanceof List || value instanceof Dict || value instanceof Namespace);
}

/** An attribute alone, without looking among the items. */
export function attribute(object: Value, name: string): Value | undefined {
  if (object instanceof MarkedText) {
    if (name === 'format') {
      return new Callable(name, (args) => formatBraces(object, args, { getAttribute, getItem }));
    }
    const method = textMethods.get(name);
    return method && new Callable(name, (args) => method(object, args));
  }
  if (object instanceof Dict) {
    const method = dictMethods.get(name);
    if (method !== undefined) return new Callable(name, (args) => method(object, args));
    return mutators.dict.includes(name) ? unsafe('dict', name) : undefined;
  }
  if (object instanceof Tuple && object.names.includes(name)) {
    return object.items[object.names.indexOf(name)];
  }
  if (object instanceof List || object instanceof Tuple) {
    const method = sequenceMethods.get(name);
    if (method !== undefined) return new Callable(name, (args) => method(object, args));
    return object instanceof List && mutators.list.includes(name)
      ? unsafe('list', name)
      : undefined;
  }
  if (object instanceof Namespace) return object.attributes.get(name);
  if (object instanceof Loop) return loopAttribute(object, name);
  if (object instanceof Float && name === 'is_integer') {
    return new Callable(name, () => Number.isInteger(object.value));
  }
  return undefined;
}

/** What the immutable sandbox keeps from templates. */
const mutators = {
  dict: ['clear', 'pop', 'popitem', 'setdefault', 'update'],
  list: ['append', 'clear', 'pop', 'reverse', 'insert', 'sort', 'extend', 'remove'],
};

function unsafe(type: string, name: string): Undefined {
  return new Undefined(`access to attribute '${name}' of '${type}' object is unsafe.`);
}

const dictMethods = new Map<string, (self: Dict, args: Arguments) => Value>([
  [
    'items',
    (self: Dict) =>
      new List(
        self.entries().map((entry) => new Tuple(entry)),
        'dict_items',
      ),
  ],
  ['keys', (self: Dict) => new List(self.keys(), 'dict_keys')],
  ['values', (self: Dict) => new List(self.values(), 'dict_values')],
  ['copy', (self: Dict) => self],
  [
    'get',
    (self: Dict, args: Arguments) => {
      const bound = new Bound('get', args, ['key', 'default']);
      const value = self.get(bound.required('key'));
      return value === undefined ? (bound.optional('default') ?? null) : value;
    },
  ],
]);

type Sequence = List | Tuple;

const sequenceMethods = new Map<string, (self: Sequence, args: Arguments) => Value>([
  [
    'index',
    (self: Sequence, args: Arguments) => {
      const bound = new Bound('index', args, ['value', 'start', 'stop']);
      const value = bound.required('value');
      const range = [bound.optional('start') ?? null, bound.optional('stop') ?? null, null];
      const at = slicePositions(self.items.length, range).find((position) =>
        equals(self.items[position] ?? null, value),
      );
      if (at === undefined) throw failure('the value is not in the list');
      return at;
    },
  ],
  [
    'count',
    (self: Sequence, args: Arguments) => {
      const value = new Bound('count', args, ['value']).required('value');
      return self.items.filter((other) => equals(other, value)).length;
    },
  ],
  ['copy', (self: Sequence) => self],
]);

function loopAttribute(loop: Loop, name: string): Value | undefined {
  const { index0, items } = loop;
  switch (name) {
    case 'index':
      return index0 + 1;
    case 'index0':
      return index0;
    case 'revindex':
      return items.length - index0;
    case 'revindex0':
      return items.length - index0 - 1;
    case 'first':
      return index0 === 0;
    case 'last':
      return index0 === items.length - 1;
    case 'length':
      return items.length;
    case 'depth':
      return loop.depth0 + 1;
    case 'depth0':
      return loop.depth0;
    case 'previtem':
      return index0 === 0 ? new Undefined('there is no previous item') : items[index0 - 1];
    case 'nextitem':
      return index0 + 1 < items.length ? items[index0 + 1] : new Undefined('there is no next item');
    case 'cycle':
      return new Callable('cycle', ({ positional }) => {
        if (positional.length === 0) throw failure('no items for cycling given');
        return positional[index0 % positional.length] ?? null;
      });
    case 'changed':
      return new Callable('changed', ({ positional }) => {
        const value = new Tuple(positional);
        const before = loop.lastChanged;
        loop.lastChanged = value;
        return before === undefined || !equals(before, value);
      });
    default:
      return undefined;
  }
}
