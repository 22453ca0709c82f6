import { CideryError } from '../../base/error.ts';
import { MarkedText } from './marked-text.ts';

/**
 * The values of the template language, which are Python's: what transformers' Jinja sees.
 * An int is a JavaScript number that is a safe integer; everything else has a class.
 */
export type Value =
  | null
  | boolean
  | number
  | Float
  | MarkedText
  | List
  | Tuple
  | Dict
  | Namespace
  | Undefined
  | Callable
  | Loop;

export class Float {
  readonly value: number;
  constructor(value: number) {
    this.value = value;
  }
}

export class List {
  readonly items: readonly Value[];
  /** Python's name of the view that this is of a dict (`dict_items`), else empty. */
  readonly view: string;
  constructor(items: readonly Value[], view = '') {
    this.items = items;
    this.view = view;
  }
}

export class Tuple {
  readonly items: readonly Value[];
  /** Names of the items where Python has a named tuple. */
  readonly names: readonly string[];
  constructor(items: readonly Value[], names: readonly string[] = []) {
    this.items = items;
    this.names = names;
  }
}

export class Dict {
  private readonly map = new Map<string, { key: Value; value: Value }>();

  static of(entries: Iterable<readonly [Value, Value]>): Dict {
    const dict = new Dict();
    for (const [key, value] of entries) dict.set(key, value);
    return dict;
  }

  /** Only for building: to a template a dict is immutable. Setting again keeps the first place. */
  set(key: Value, value: Value): void {
    const id = hashKey(key);
    this.map.set(id, { key: this.map.get(id)?.key ?? key, value });
  }

  get(key: Value): Value | undefined {
    return this.map.get(hashKey(key))?.value;
  }

  has(key: Value): boolean {
    return this.map.has(hashKey(key));
  }

  get size(): number {
    return this.map.size;
  }

  keys(): Value[] {
    return Array.from(this.map.values(), ({ key }) => key);
  }

  values(): Value[] {
    return Array.from(this.map.values(), ({ value }) => value);
  }

  entries(): [Value, Value][] {
    return Array.from(this.map.values(), ({ key, value }) => [key, value]);
  }
}

/** Jinja's `namespace()`: the one thing that a template may change. */
export class Namespace {
  readonly attributes = new Map<string, Value>();
}

/** What a missing name or attribute evaluates to; most uses of it fail with its message. */
export class Undefined {
  readonly message: string;
  constructor(message: string) {
    this.message = message;
  }
}

export interface Arguments {
  readonly positional: readonly Value[];
  readonly named: ReadonlyMap<string, Value>;
}

export const noArguments: Arguments = { positional: [], named: new Map() };

export class Callable {
  readonly name: string;
  readonly call: (args: Arguments) => Value;
  constructor(name: string, call: (args: Arguments) => Value) {
    this.name = name;
    this.call = call;
  }
}

/** The `loop` variable of a for block. */
export class Loop {
  readonly items: readonly Value[];
  readonly depth0: number;
  readonly recurse: ((args: Arguments) => Value) | null;
  index0 = 0;
  lastChanged: Value | undefined;
  constructor(
    items: readonly Value[],
    depth0: number,
    recurse: ((args: Arguments) => Value) | null,
  ) {
    this.items = items;
    this.depth0 = depth0;
    this.recurse = recurse;
  }
}

/**
 * A failure while a template runs, as Python's TypeError, ValueError or UndefinedError would be.
 */
export function failure(message: string): CideryError {
  return new CideryError('template_failed', `the chat template failed: ${message}`, {
    hint: 'the template does not take these messages, tools or roles; change them or the template',
  });
}

/** The value, or the failure that using an undefined one is. */
export function defined(value: Value): Exclude<Value, Undefined> {
  if (value instanceof Undefined) throw failure(value.message);
  return value;
}

export function text(value: string): MarkedText {
  return MarkedText.inside(value);
}

/**
 * An argument's name as text: from outside, for `**message` makes names of a message's keys and the
 * template's own names are not worth telling apart.
 */
export function nameText(name: string): MarkedText {
  return MarkedText.outside(name);
}

/** Python's name of a value's type. */
export function typeName(value: Value): string {
  if (value === null) return 'NoneType';
  if (typeof value === 'boolean') return 'bool';
  if (typeof value === 'number') return 'int';
  if (value instanceof Float) return 'float';
  if (value instanceof MarkedText) return 'str';
  if (value instanceof List) return value.view || 'list';
  if (value instanceof Tuple) return 'tuple';
  if (value instanceof Dict) return 'dict';
  if (value instanceof Namespace) return 'Namespace';
  if (value instanceof Undefined) return 'Undefined';
  if (value instanceof Loop) return 'LoopContext';
  return 'function';
}

/** The number that an int, bool or float is, else undefined. */
export function asNumber(value: Value): number | undefined {
  if (typeof value === 'number') return value;
  if (typeof value === 'boolean') return value ? 1 : 0;
  return value instanceof Float ? value.value : undefined;
}

/** The integer that an int or bool is, else undefined. */
export function asInteger(value: Value): number | undefined {
  return value instanceof Float ? undefined : asNumber(value);
}

export function isTrue(value: Value): boolean {
  const number = asNumber(value);
  if (number !== undefined) return number !== 0;
  if (value instanceof MarkedText) return value.text !== '';
  if (value instanceof List || value instanceof Tuple) return value.items.length > 0;
  if (value instanceof Dict) return value.size > 0;
  return value !== null && !(value instanceof Undefined);
}

/** A string that is equal for two values exactly when Python's hash and == say they are one key. */
function hashKey(value: Value): string {
  const number = asNumber(value);
  if (number !== undefined) return `n${number === 0 ? 0 : number}`;
  if (value instanceof MarkedText) return `s${value.text}`;
  if (value === null) return 'None';
  if (value instanceof Undefined) return 'Undefined';
  if (value instanceof Tuple) {
    // Each with its length in front: quoting would double with every level of a nested tuple.
    const keys = value.items.map(hashKey);
    return `t${keys.map((key) => `${key.length}:${key}`).join('')}`;
  }
  throw failure(`unhashable type: '${typeName(value)}'`);
}

/** Python's `==`. */
export function equals(a: Value, b: Value): boolean {
  if (a === b) return true;
  const [x, y] = [asNumber(a), asNumber(b)];
  if (x !== undefined && y !== undefined) return x === y;
  if (a instanceof MarkedText && b instanceof MarkedText) return a.text === b.text;
  if (a instanceof Undefined) return b instanceof Undefined;
  if ((a instanceof List && b instanceof List) || (a instanceof Tuple && b instanceof Tuple)) {
    return (
      a.items.length === b.items.length &&
      a.items.every((item, index) => equals(item, b.items[index] ?? null))
    );
  }
  if (a instanceof Dict && b instanceof Dict) {
    if (a.size !== b.size) return false;
    return a.entries().every(([key, value]) => {
      const other = b.get(key);
      return other !== undefined && equals(value, other);
    });
  }
  return false;
}

/** Python's order of two values: negative, zero or positive. Fails where Python has none. */
export function order(a: Value, b: Value): number {
  const [x, y] = [asNumber(a), asNumber(b)];
  if (x !== undefined && y !== undefined) return x - y;
  if (a instanceof MarkedText && b instanceof MarkedText) return orderText(a.text, b.text);
  if ((a instanceof List && b instanceof List) || (a instanceof Tuple && b instanceof Tuple)) {
    for (let at = 0; at < Math.min(a.items.length, b.items.length); at += 1) {
      const [left, right] = [a.items[at] ?? null, b.items[at] ?? null];
      if (!equals(left, right)) return order(left, right);
    }
    return a.items.length - b.items.length;
  }
  const types = `'${typeName(defined(a))}' and '${typeName(defined(b))}'`;
  throw failure(`'<' not supported between instances of ${types}`);
}

/** Order by code points, as Python's; UTF-16 units differ beyond U+D7FF. */
export function orderText(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let at = 0; at < length; at += 1) {
    const [x, y] = [a.charCodeAt(at), b.charCodeAt(at)];
    if (x === y) continue;
    const [high, other] = [x >= 0xd800 && x <= 0xdfff, y >= 0xd800 && y <= 0xdfff];
    if (high !== other) return high ? 1 : -1;
    return x - y;
  }
  return a.length - b.length;
}

/** What Python's `iter` gives, as an array. */
export function iterate(value: Value): readonly Value[] {
  if (value instanceof List || value instanceof Tuple) return value.items;
  if (value instanceof Dict) return value.keys();
  if (value instanceof MarkedText) return value.characters();
  if (value instanceof Undefined) return [];
  throw failure(`'${typeName(value)}' object is not iterable`);
}

/** Python's `len`. */
export function lengthOf(value: Value): number {
  if (value instanceof MarkedText) return value.codePoints;
  if (value instanceof List || value instanceof Tuple) return value.items.length;
  if (value instanceof Dict) return value.size;
  if (value instanceof Undefined) return 0;
  if (value instanceof Loop) return value.items.length;
  throw failure(`object of type '${typeName(value)}' has no len()`);
}

/** A value made of JSON; strings and keys become text by `toText`. */
export function fromJson(json: unknown, toText: (string: string) => MarkedText): Value {
  if (json === null || typeof json === 'boolean') return json;
  if (typeof json === 'string') return toText(json);
  if (typeof json === 'number') return Number.isSafeInteger(json) ? json : new Float(json);
  if (Array.isArray(json)) return new List(json.map((item) => fromJson(item, toText)));
  if (typeof json === 'object') {
    const entries = Object.entries(json).filter(([, value]) => value !== undefined);
    return Dict.of(entries.map(([key, value]) => [toText(key), fromJson(value, toText)]));
  }
  throw failure(`a value of type ${typeof json} cannot be given to a template`);
}
