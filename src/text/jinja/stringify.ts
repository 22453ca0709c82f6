import { MarkedText } from './marked-text.ts';
import { Dict, Float, List, Loop, Namespace, nameText, text, Tuple, Undefined } from './values.ts';
import type { Callable, Value } from './values.ts';

/** Python's `str(value)`. */
export function stringify(value: Value): MarkedText {
  if (value instanceof MarkedText) return value;
  if (value instanceof Undefined) return text('');
  return represent(value);
}

/** Python's `repr(value)`. */
export function represent(value: Value): MarkedText {
  if (value === null) return text('None');
  if (typeof value === 'boolean') return text(value ? 'True' : 'False');
  if (typeof value === 'number') return text(String(value));
  if (value instanceof Float) return text(floatText(value.value));
  if (value instanceof MarkedText) return value.derive(quoted(value.text));
  if (value instanceof List) {
    return value.view === ''
      ? sequence('[', value.items, ']')
      : sequence(`${value.view}([`, value.items, '])');
  }
  if (value instanceof Tuple) {
    return sequence('(', value.items, value.items.length === 1 ? ',)' : ')');
  }
  if (value instanceof Dict) return mapping(value.entries());
  if (value instanceof Namespace) {
    const entries = Array.from(value.attributes, ([key, item]): [Value, Value] => [
      nameText(key),
      item,
    ]);
    return MarkedText.join([text('<Namespace '), mapping(entries), text('>')]);
  }
  if (value instanceof Undefined) return text('Undefined');
  if (value instanceof Loop) return text(`<LoopContext ${value.index0 + 1}/${value.items.length}>`);
  return text(`<function ${(value satisfies Callable).name}>`);
}

function sequence(open: string, items: readonly Value[], close: string): MarkedText {
  const inner = MarkedText.join(items.map(represent), text(', '));
  return MarkedText.join([text(open), inner, text(close)]);
}

function mapping(entries: readonly [Value, Value][]): MarkedText {
  const pairs = entries.map(([key, value]) =>
    MarkedText.join([represent(key), text(': '), represent(value)]),
  );
  return MarkedText.join([text('{'), MarkedText.join(pairs, text(', ')), text('}')]);
}

/** Python's repr of a float: the shortest digits, with an exponent from 1e16 and below 1e-4. */
export function floatText(value: number): string {
  if (Number.isNaN(value)) return 'nan';
  if (!Number.isFinite(value)) return value > 0 ? 'inf' : '-inf';
  if (value === 0) return Object.is(value, -0) ? '-0.0' : '0.0';
  const [digits = '', power = '0'] = value.toExponential().split('e');
  const exponent = Number(power);
  if (exponent < -4 || exponent >= 16) {
    const sign = exponent < 0 ? '-' : '+';
    return `${digits}e${sign}${String(Math.abs(exponent)).padStart(2, '0')}`;
  }
  if (exponent < 0) {
    const plain = digits.replace('-', '').replace('.', '');
    return `${value < 0 ? '-' : ''}0.${'0'.repeat(-exponent - 1)}${plain}`;
  }
  const plain = String(value);
  return plain.includes('.') ? plain : `${plain}.0`;
}

const named: Readonly<Record<string, string>> = {
  '\n': '\\n',
  '\r': '\\r',
  '\t': '\\t',
  '\\': '\\\\',
};
const unprintable = /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}\p{Zl}\p{Zp}\p{Zs}]/u;

/** Python's repr of a string. */
function quoted(string: string): string {
  const quote = string.includes("'") && !string.includes('"') ? '"' : "'";
  let body = '';
  for (const character of string) {
    const escape = named[character];
    if (escape !== undefined) body += escape;
    else if (character === quote) body += `\\${quote}`;
    else if (character !== ' ' && unprintable.test(character)) body += hexEscape(character);
    else body += character;
  }
  return quote + body + quote;
}

function hexEscape(character: string): string {
  const point = character.codePointAt(0) ?? 0;
  const digits = point.toString(16);
  if (point <= 0xff) return `\\x${digits.padStart(2, '0')}`;
  return point <= 0xffff ? `\\u${digits.padStart(4, '0')}` : `\\U${digits.padStart(8, '0')}`;
}
