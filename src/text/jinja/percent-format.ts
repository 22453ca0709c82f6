import { MarkedText } from './marked-text.ts';
import { represent, stringify } from './stringify.ts';
import { asInteger, asNumber, Dict, failure, text, Tuple, typeName, type Value } from './values.ts';

const directive = /%(?:\(([^)]*)\))?([-+ 0#]*)(\d+)?(?:\.(\d+))?([sradiufFgGeExXoc%])/g;

/** Python's `format % values`: the directives s r a d i u f F e E g G x X o c and %%. */
export function formatPercent(format: MarkedText, values: Value): MarkedText {
  const queue = values instanceof Tuple ? [...values.items] : [values];
  let used = 0;
  const take = (key: string | undefined): Value => {
    if (key !== undefined) {
      if (!(values instanceof Dict)) throw failure('format requires a mapping');
      const value = values.get(text(key));
      if (value === undefined) throw failure(`'${key}' is not in the mapping to format`);
      used = queue.length;
      return value;
    }
    const value = queue[used];
    if (value === undefined) throw failure('not enough arguments for format string');
    used += 1;
    return value;
  };
  const parts: MarkedText[] = [];
  let done = 0;
  for (const match of format.text.matchAll(directive)) {
    const [all, key, flags = '', width, precision, kind = 's'] = match;
    parts.push(plain(format, done, match.index));
    done = match.index + all.length;
    if (kind === '%') parts.push(text('%'));
    else
      parts.push(padded(converted(kind, take(key), flags, precision), flags, Number(width ?? 0)));
  }
  parts.push(plain(format, done, format.text.length));
  if (used < queue.length && !(values instanceof Dict)) {
    throw failure('not all arguments converted during string formatting');
  }
  return MarkedText.join(parts);
}

function plain(format: MarkedText, start: number, end: number): MarkedText {
  const part = format.slice(start, end);
  if (part.text.includes('%')) throw failure('unsupported format character');
  return part;
}

function converted(
  kind: string,
  value: Value,
  flags: string,
  precision: string | undefined,
): MarkedText {
  if (kind === 's' || kind === 'r' || kind === 'a') {
    const whole = kind === 's' ? stringify(value) : represent(value);
    return precision === undefined ? whole : whole.slice(0, Number(precision));
  }
  if (kind === 'c') return stringify(value);
  const number = asNumber(value);
  if (number === undefined) {
    throw failure(`%${kind} format: a real number is required, not ${typeName(value)}`);
  }
  const sign = number < 0 ? '-' : flags.includes('+') ? '+' : flags.includes(' ') ? ' ' : '';
  return text(sign + magnitude(kind, Math.abs(number), value, precision));
}

function magnitude(
  kind: string,
  number: number,
  value: Value,
  precision: string | undefined,
): string {
  if ('diu'.includes(kind)) return String(Math.trunc(number)).padStart(Number(precision ?? 0), '0');
  if ('xXo'.includes(kind)) {
    if (asInteger(value) === undefined) throw failure(`%${kind} format: an integer is required`);
    const digits = number.toString(kind === 'o' ? 8 : 16);
    return kind === 'X' ? digits.toUpperCase() : digits;
  }
  const places = Math.min(Number(precision ?? 6), 100);
  if ('fF'.includes(kind)) return number.toFixed(places);
  if ('eE'.includes(kind)) return exponent(number.toExponential(places), kind);
  return general(number, Math.max(1, places), kind);
}

function exponent(printed: string, kind: string): string {
  const filled = printed.replace(/e([+-])(\d)$/, 'e$10$2');
  return kind === 'E' || kind === 'G' ? filled.toUpperCase() : filled;
}

function general(number: number, digits: number, kind: string): string {
  const power = number === 0 ? 0 : Number(number.toExponential(digits - 1).split('e')[1]);
  if (power < -4 || power >= digits) {
    return exponent(trimmed(number.toExponential(digits - 1)), kind);
  }
  return trimmed(number.toFixed(Math.max(0, digits - 1 - power)));
}

function padded(value: MarkedText, flags: string, width: number): MarkedText {
  const missing = width - value.codePoints;
  if (missing <= 0) return value;
  if (flags.includes('-')) return MarkedText.join([value, text(' ').repeat(missing)]);
  if (!flags.includes('0')) return MarkedText.join([text(' ').repeat(missing), value]);
  const sign = /^[-+ ]/.test(value.text) ? 1 : 0;
  return MarkedText.join([value.slice(0, sign), text('0').repeat(missing), value.slice(sign)]);
}

function trimmed(printed: string): string {
  return printed.includes('.') ? printed.replace(/\.?0+(?=e|$)/, '') : printed;
}
