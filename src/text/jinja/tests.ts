import { Bound } from './arguments.ts';
import { filters } from './filters.ts';
import { MarkedText } from './marked-text.ts';
import { compare } from './operators.ts';
import { stringify } from './stringify.ts';
import type { CompareOperator } from './syntax.ts';
import { isLower, isUpper } from './text-methods.ts';
import { type Arguments, asInteger, asNumber, Callable, defined, Dict, equals } from './values.ts';
import { failure, Float, List, Loop, Namespace, Tuple, Undefined, type Value } from './values.ts';

type Test = (input: Value, args: Arguments) => boolean;

/** The tests of Jinja (`x is defined`). */
export const tests: ReadonlyMap<string, Test> = new Map<string, Test>([
  ['defined', (input) => !(input instanceof Undefined)],
  ['undefined', (input) => input instanceof Undefined],
  ['none', (input) => input === null],
  ['boolean', (input) => typeof input === 'boolean'],
  ['true', (input) => input === true],
  ['false', (input) => input === false],
  ['integer', (input) => typeof input === 'number'],
  ['float', (input) => input instanceof Float],
  ['number', (input) => asNumber(input) !== undefined],
  ['string', (input) => input instanceof MarkedText],
  ['mapping', (input) => input instanceof Dict],
  ['sequence', isSequence],
  ['iterable', (input) => isSequence(input) || input instanceof Loop],
  ['callable', (input) => input instanceof Callable || input instanceof Undefined],
  [
    'sameas',
    (input, args) => isSame(input, new Bound('sameas', args, ['other']).required('other')),
  ],
  ['odd', (input) => remainder(input, 2) === 1],
  ['even', (input) => remainder(input, 2) === 0],
  ['divisibleby', (input, args) => remainder(input, divisor(args)) === 0],
  ['lower', (input) => isLower(stringify(input).text)],
  ['upper', (input) => isUpper(stringify(input).text)],
  ['escaped', () => false],
  ['filter', (input) => filters.has(stringify(input).text)],
  ['test', (input) => tests.has(stringify(input).text)],
  ...comparisons([
    ['==', 'eq', 'equalto'],
    ['!=', 'ne'],
    ['<', 'lt', 'lessthan'],
    ['<=', 'le'],
    ['>', 'gt', 'greaterthan'],
    ['>=', 'ge'],
    ['in', 'in'],
  ]),
]);

function comparisons(table: [CompareOperator, ...string[]][]): [string, Test][] {
  return table.flatMap(([operator, ...names]) =>
    [operator, ...names].map((name): [string, Test] => [
      name,
      (input, args) => compare(operator, input, new Bound(name, args, ['other']).required('other')),
    ]),
  );
}

/** Whether Python's value has a length and items by index; undefined ones do. */
function isSequence(input: Value): boolean {
  return (
    input instanceof MarkedText ||
    input instanceof List ||
    input instanceof Tuple ||
    input instanceof Dict ||
    input instanceof Undefined
  );
}

/** Python's `is`, where small numbers and equal short texts are one object. */
function isSame(a: Value, b: Value): boolean {
  if (a === b) return true;
  const isPlain = a instanceof MarkedText || a instanceof Float;
  return isPlain && !(b instanceof Namespace) && typeof a === typeof b && equals(a, b);
}

function divisor(args: Arguments): number {
  const value = new Bound('divisibleby', args, ['num']).integer('num');
  if (value === 0) throw failure('integer modulo by zero');
  return value;
}

function remainder(input: Value, by: number): number {
  const number = input instanceof Float ? input.value : asInteger(defined(input));
  if (number === undefined) throw failure('not all arguments converted during string formatting');
  return ((number % by) + by) % by;
}
