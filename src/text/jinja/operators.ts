import { MarkedText } from './marked-text.ts';
import type { BinaryOperator, CompareOperator } from './syntax.ts';
import { formatPercent } from './percent-format.ts';
import { indexOf } from './text-search.ts';
import { asInteger, asNumber, defined, Dict, equals, failure, Float, iterate } from './values.ts';
import { List, order, text, Tuple, typeName, type Value } from './values.ts';

/** Longest list that an operation may make: far beyond any honest template. */
export const listMaxItems = 1_000_000;

/** Python's binary operators. */
export function binary(operator: BinaryOperator, leftValue: Value, rightValue: Value): Value {
  const [left, right] = [defined(leftValue), defined(rightValue)];
  const [x, y] = [asNumber(left), asNumber(right)];
  if (x !== undefined && y !== undefined) {
    const integers = asInteger(left) !== undefined && asInteger(right) !== undefined;
    return arithmetic(operator, x, y, integers);
  }
  if (operator === '+') {
    if (left instanceof MarkedText && right instanceof MarkedText) {
      return MarkedText.join([left, right]);
    }
    if (left instanceof List && right instanceof List) {
      return new List(joined(left.items, right.items));
    }
    if (left instanceof Tuple && right instanceof Tuple) {
      return new Tuple(joined(left.items, right.items));
    }
  }
  if (operator === '*') {
    const product = repeat(left, right) ?? repeat(right, left);
    if (product !== undefined) return product;
  }
  if (operator === '%' && left instanceof MarkedText) return formatPercent(left, right);
  const types = `'${typeName(left)}' and '${typeName(right)}'`;
  throw failure(`unsupported operand type(s) for ${operator}: ${types}`);
}

function joined(left: readonly Value[], right: readonly Value[]): Value[] {
  if (left.length + right.length > listMaxItems) throw failure('a list is too long');
  return [...left, ...right];
}

function repeat(value: Value, times: Value): Value | undefined {
  const count = asInteger(times);
  if (count === undefined) return undefined;
  if (value instanceof MarkedText) return value.repeat(count);
  if (!(value instanceof List || value instanceof Tuple)) return undefined;
  if (count * value.items.length > listMaxItems) throw failure('a list is too long');
  const items = Array.from({ length: Math.max(0, count) }, () => value.items).flat();
  return value instanceof List ? new List(items) : new Tuple(items);
}

function arithmetic(operator: BinaryOperator, x: number, y: number, integers: boolean): Value {
  const result = (value: number): Value => (integers ? integer(value) : new Float(value));
  switch (operator) {
    case '+':
      return result(x + y);
    case '-':
      return result(x - y);
    case '*':
      return result(x * y);
    case '/':
      return new Float(x / divisor(y));
    case '//':
      return result(Math.floor(x / divisor(y)));
    case '%': {
      const rest = x % divisor(y);
      return result(rest !== 0 && rest < 0 !== y < 0 ? rest + y : rest);
    }
    case '**':
      return integers && y >= 0 ? integer(x ** y) : new Float(x ** y);
    default:
      return operator satisfies never;
  }
}

function divisor(value: number): number {
  if (value === 0) throw failure('division by zero');
  return value;
}

function integer(value: number): number {
  if (!Number.isSafeInteger(value)) throw failure('an integer went beyond 2**53');
  return value === 0 ? 0 : value;
}

/** Unary plus and minus. */
export function signed(operator: '-' | '+', operand: Value): Value {
  const value = defined(operand);
  const number = asNumber(value);
  if (number === undefined) {
    throw failure(`bad operand type for unary ${operator}: '${typeName(value)}'`);
  }
  const result = operator === '-' ? -number : number;
  return value instanceof Float ? new Float(result) : result === 0 ? 0 : result;
}

export function compare(operator: CompareOperator, left: Value, right: Value): boolean {
  switch (operator) {
    case '==':
      return equals(left, right);
    case '!=':
      return !equals(left, right);
    case '<':
      return order(defined(left), defined(right)) < 0;
    case '<=':
      return order(defined(left), defined(right)) <= 0;
    case '>':
      return order(defined(left), defined(right)) > 0;
    case '>=':
      return order(defined(left), defined(right)) >= 0;
    case 'in':
      return contains(right, left);
    case 'not in':
      return !contains(right, left);
    default:
      return operator satisfies never;
  }
}

/** Python's `needle in haystack`. */
function contains(haystack: Value, needle: Value): boolean {
  if (haystack instanceof MarkedText) {
    if (needle instanceof MarkedText) return indexOf(haystack.text, needle.text) >= 0;
    const type = typeName(defined(needle));
    throw failure(`'in <string>' requires string as left operand, not ${type}`);
  }
  if (haystack instanceof Dict) return haystack.has(needle);
  return iterate(haystack).some((item) => equals(item, needle));
}

/** Python's slicing: the positions of a sequence of `length` that [start:stop:step] names. */
export function slicePositions(length: number, bounds: readonly Value[]): number[] {
  const [start, stop, step] = bounds.map((bound) => {
    const value = bound === null ? null : asInteger(bound);
    if (value === undefined) throw failure('slice indices must be integers or None');
    return value;
  });
  const by = step ?? 1;
  if (by === 0) throw failure('slice step cannot be zero');
  const [low, high] = by > 0 ? [0, length] : [-1, length - 1];
  const clamp = (value: number): number =>
    Math.min(Math.max(value < 0 ? value + length : value, low), high);
  const from = start === null || start === undefined ? (by > 0 ? low : high) : clamp(start);
  const to = stop === null || stop === undefined ? (by > 0 ? high : low) : clamp(stop);
  const positions: number[] = [];
  for (let at = from; by > 0 ? at < to : at > to; at += by) positions.push(at);
  return positions;
}

export function slice(value: Value, bounds: readonly Value[]): Value | undefined {
  if (value instanceof MarkedText) {
    if (value.codePoints === value.text.length && (bounds[2] ?? null) === null) {
      const positions = slicePositions(value.text.length, bounds);
      return positions.length === 0
        ? text('')
        : value.slice(positions[0] ?? 0, (positions.at(-1) ?? 0) + 1);
    }
    const characters = value.characters();
    const positions = slicePositions(characters.length, bounds);
    return MarkedText.join(positions.map((at) => characters[at] ?? text('')));
  }
  if (!(value instanceof List || value instanceof Tuple)) return undefined;
  const positions = slicePositions(value.items.length, bounds);
  const items = positions.map((at) => value.items[at] ?? null);
  return value instanceof List ? new List(items) : new Tuple(items);
}
