import { Bound } from './arguments.ts';
import type { Filter } from './filters.ts';
import { MarkedText } from './marked-text.ts';
import {
  type Arguments,
  asNumber,
  defined,
  failure,
  Float,
  typeName,
  type Value,
} from './values.ts';

/** Jinja's filters that make numbers. */
export const numberFilters: readonly [string, Filter][] = [
  ['abs', absolute],
  ['int', toInteger],
  ['float', toFloat],
  ['round', round],
];

function absolute(input: Value): Value {
  const number = asNumber(defined(input));
  if (number === undefined) throw failure(`bad operand type for abs(): '${typeName(input)}'`);
  return input instanceof Float ? new Float(Math.abs(number)) : Math.abs(number);
}

function toInteger(input: Value, args: Arguments): Value {
  const bound = new Bound('int', args, ['default', 'base']);
  const base = bound.integer('base', 10);
  const otherwise = bound.optional('default') ?? 0;
  const value = defined(input);
  const number = value instanceof MarkedText ? parseInteger(value.text, base) : asNumber(value);
  if (number === undefined || !Number.isFinite(number)) return otherwise;
  const whole = Math.trunc(number);
  return Number.isSafeInteger(whole) ? whole + 0 : otherwise;
}

function parseInteger(written: string, base: number): number | undefined {
  const digits = written.trim().replace(/(?<=[\da-z])_(?=[\da-z])/gi, '');
  const [, sign = '', prefix = '', body = ''] = /^([-+]?)(0[xob])?([\da-z]+)$/i.exec(digits) ?? [];
  const prefixBase = { '0x': 16, '0o': 8, '0b': 2 }[prefix.toLowerCase()];
  if (body !== '' && (prefix === '' || prefixBase === base)) {
    const valid = Array.from(body).every((digit) => Number.parseInt(digit, 36) < base);
    if (valid) return Number.parseInt(sign + body, base);
  }
  return parseFloating(written);
}

function parseFloating(written: string): number | undefined {
  const digits = written.trim().replace(/(?<=\d)_(?=\d)/g, '');
  if (/^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/i.test(digits)) return Number(digits);
  const [, sign, word] = /^([-+]?)(inf|infinity|nan)$/i.exec(digits) ?? [];
  if (word === undefined) return undefined;
  if (word.toLowerCase() === 'nan') return Number.NaN;
  return sign === '-' ? -Infinity : Infinity;
}

function toFloat(input: Value, args: Arguments): Value {
  const otherwise = new Bound('float', args, ['default']).optional('default') ?? new Float(0);
  const value = defined(input);
  const number = value instanceof MarkedText ? parseFloating(value.text) : asNumber(value);
  return number === undefined ? otherwise : new Float(number);
}

function round(input: Value, args: Arguments): Value {
  const bound = new Bound('round', args, ['precision', 'method']);
  const precision = bound.integer('precision', 0);
  const method = bound.optional('method') === undefined ? 'common' : bound.text('method').text;
  const number = asNumber(defined(input));
  if (number === undefined)
    throw failure(`type ${typeName(input)} doesn't define __round__ method`);
  const scale = 10 ** precision;
  switch (method) {
    case 'common': {
      const rounded = roundHalfEven(number, precision);
      return input instanceof Float ? new Float(rounded) : rounded;
    }
    case 'ceil':
      return new Float(Math.ceil(number * scale) / scale);
    case 'floor':
      return new Float(Math.floor(number * scale) / scale);
    default:
      throw failure('method must be common, ceil or floor');
  }
}

function roundHalfEven(number: number, precision: number): number {
  const scale = 10 ** precision;
  const scaled = number * scale;
  const isTie = Math.abs(scaled - Math.trunc(scaled)) === 0.5 && scaled / scale === number;
  if (isTie) return (2 * Math.round(scaled / 2)) / scale;
  return precision >= 0 && precision <= 100
    ? Number(number.toFixed(precision))
    : Math.round(scaled) / scale;
}
