import { MarkedText } from './marked-text.ts';
import { represent, stringify } from './stringify.ts';
import { type Arguments, failure, text, type Value } from './values.ts';

const field = /\{\{|\}\}|\{([^{}!:.[]*)((?:\.\w+|\[[^\]]+\])*)(?:!([rs]))?\}/g;

/** How a field's `.name` and `[item]` are looked up. */
export interface Lookup {
  getAttribute(object: Value, name: string): Value;
  getItem(object: Value, index: Value): Value;
}

/** Python's `str.format` without format specifications after a colon. */
export function formatBraces(format: MarkedText, args: Arguments, lookup: Lookup): MarkedText {
  const parts: MarkedText[] = [];
  let [done, next] = [0, 0];
  for (const match of format.text.matchAll(field)) {
    const [all, name = '', path = '', conversion] = match;
    parts.push(plain(format, done, match.index));
    done = match.index + all.length;
    if (all === '{{' || all === '}}') {
      parts.push(format.slice(match.index, match.index + 1));
      continue;
    }
    const key = name === '' ? String(next) : name;
    if (name === '') next += 1;
    const value = /^\d+$/.test(key) ? args.positional[Number(key)] : args.named.get(key);
    if (value === undefined) throw failure(`the argument '${key}' of format is missing`);
    const inner = follow(value, path, lookup);
    parts.push(conversion === 'r' ? represent(inner) : stringify(inner));
  }
  parts.push(plain(format, done, format.text.length));
  return MarkedText.join(parts);
}

function plain(format: MarkedText, start: number, end: number): MarkedText {
  const part = format.slice(start, end);
  if (/[{}]/.test(part.text)) throw failure('str.format knows only plain fields here');
  return part;
}

function follow(value: Value, path: string, lookup: Lookup): Value {
  let inner = value;
  for (const [, attribute, item = ''] of path.matchAll(/\.(\w+)|\[([^\]]+)\]/g)) {
    if (attribute !== undefined) inner = lookup.getAttribute(inner, attribute);
    else inner = lookup.getItem(inner, /^\d+$/.test(item) ? Number(item) : text(item));
  }
  return inner;
}
