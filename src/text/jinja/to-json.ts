import { MarkedText } from './marked-text.ts';
import { floatText, stringify } from './stringify.ts';
import { Dict, failure, Float, List, orderText, text, Tuple, typeName } from './values.ts';
import type { Value } from './values.ts';

export interface JsonOptions {
  /** Escape everything beyond ASCII. */
  readonly ensureAscii: boolean;
  /** One level's indentation; null keeps it on one line. */
  readonly indent: string | null;
  readonly itemSeparator: MarkedText;
  readonly keySeparator: MarkedText;
  readonly sortKeys: boolean;
}

/** What Python's `json.dumps` prints; the strings in it keep whether they came from outside. */
export function toJson(value: Value, options: JsonOptions): MarkedText {
  const parts: MarkedText[] = [];
  write(value, options, '\n', parts);
  return MarkedText.join(parts);
}

function write(value: Value, options: JsonOptions, line: string, parts: MarkedText[]): void {
  if (value === null) parts.push(text('null'));
  else if (typeof value === 'boolean') parts.push(text(value ? 'true' : 'false'));
  else if (typeof value === 'number') parts.push(text(String(value)));
  else if (value instanceof Float) parts.push(text(jsonFloat(value.value)));
  else if (value instanceof MarkedText) parts.push(jsonString(value, options));
  else if ((value instanceof List && value.view === '') || value instanceof Tuple) {
    const items = value.items.map((item) => (inner: string) => write(item, options, inner, parts));
    writeAll('[', items, ']', options, line, parts);
  } else if (value instanceof Dict) {
    const entries = value.entries().map(([key, item]): [MarkedText, Value] => [jsonKey(key), item]);
    if (options.sortKeys) entries.sort(([a], [b]) => orderText(a.text, b.text));
    const items = entries.map(([key, item]) => (inner: string) => {
      parts.push(jsonString(key, options), options.keySeparator);
      write(item, options, inner, parts);
    });
    writeAll('{', items, '}', options, line, parts);
  } else throw failure(`Object of type ${typeName(value)} is not JSON serializable`);
}

function writeAll(
  open: string,
  items: readonly ((line: string) => void)[],
  close: string,
  options: JsonOptions,
  line: string,
  parts: MarkedText[],
): void {
  parts.push(text(open));
  const inner = options.indent === null ? line : line + options.indent;
  items.forEach((item, index) => {
    if (index > 0) parts.push(options.itemSeparator);
    if (options.indent !== null) parts.push(text(inner));
    item(inner);
  });
  if (options.indent !== null && items.length > 0) parts.push(text(line));
  parts.push(text(close));
}

function jsonKey(key: Value): MarkedText {
  if (key instanceof MarkedText) return key;
  if (key === null) return text('null');
  if (typeof key === 'boolean') return text(key ? 'true' : 'false');
  if (typeof key === 'number' || key instanceof Float) return stringify(key);
  throw failure(`keys must be str, int, float, bool or None, not ${typeName(key)}`);
}

function jsonFloat(value: number): string {
  if (Number.isNaN(value)) return 'NaN';
  if (!Number.isFinite(value)) return value > 0 ? 'Infinity' : '-Infinity';
  return floatText(value);
}

const escapes: Readonly<Record<string, string>> = {
  '"': '\\"',
  '\\': '\\\\',
  '\n': '\\n',
  '\r': '\\r',
  '\t': '\\t',
  '\f': '\\f',
  '\b': '\\b',
};
// oxlint-disable-next-line no-control-regex -- JSON escapes exactly these
const special = /["\\\x00-\x1f]/g;
// oxlint-disable-next-line no-control-regex -- everything that is not ASCII text
const specialOrWide = /["\\]|[^ -~]/g;

/** A string in quotes; marks cover what they covered before escaping. */
function jsonString(value: MarkedText, options: JsonOptions): MarkedText {
  const pattern = options.ensureAscii ? specialOrWide : special;
  const parts: MarkedText[] = [text('"')];
  let done = 0;
  for (const match of value.text.matchAll(pattern)) {
    const [unit] = match;
    const code = `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`;
    parts.push(
      value.slice(done, match.index),
      value.slice(match.index, match.index + 1).derive(escapes[unit] ?? code),
    );
    done = match.index + 1;
  }
  parts.push(value.slice(done), text('"'));
  return MarkedText.join(parts);
}
