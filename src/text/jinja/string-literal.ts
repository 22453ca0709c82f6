import { syntaxError } from './syntax.ts';

const simple: Readonly<Record<string, string>> = {
  '\n': '',
  '\\': '\\',
  "'": "'",
  '"': '"',
  a: '\x07',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
  v: '\v',
};
const escape = /\\([0-7]{1,3}|x[\da-fA-F]{2}|u[\da-fA-F]{4}|U[\da-fA-F]{8}|[^])/g;

/**
 * What the inside of a quoted string stands for: Python's escapes, unknown ones left as they are.
 */
export function unescapeString(body: string, line: number): string {
  if (!body.includes('\\')) return body;
  return body.replace(escape, (all, code: string) => {
    const known = simple[code];
    if (known !== undefined) return known;
    if (/^[0-7]/.test(code)) return String.fromCodePoint(Number.parseInt(code, 8));
    if (code.length > 1) {
      const point = Number.parseInt(code.slice(1), 16);
      if (point > 0x10ffff) throw syntaxError('illegal Unicode character in a string', line);
      return String.fromCodePoint(point);
    }
    if ('xuU'.includes(code)) throw syntaxError(`truncated \\${code} escape in a string`, line);
    return all;
  });
}
