import { syntaxError } from './syntax.ts';
import { unescapeString } from './string-literal.ts';
import { innerRange, isWhitespace, whitespaceClass } from './whitespace.ts';

export type TokenKind =
  | 'data'
  | 'variableBegin'
  | 'variableEnd'
  | 'blockBegin'
  | 'blockEnd'
  | 'name'
  | 'string'
  | 'integer'
  | 'float'
  | 'operator'
  | 'end';

export interface Token {
  readonly kind: TokenKind;
  /** Of a string what it stands for, of a number its digits without underscores. */
  readonly value: string;
  readonly line: number;
}

const space = `[${whitespaceClass}]`;
const blank = new RegExp(`^${space}+$`);
const patterns = {
  rawBegin: new RegExp(`\\{%[-+]?${space}*raw${space}*(?:-%\\}${space}*|%\\})`, 'y'),
  rawEnd: new RegExp(`\\{%([-+]?)${space}*endraw${space}*(?:\\+%\\}|-%\\}${space}*|%\\}\\n?)`, 'g'),
  commentEnd: new RegExp(`\\+#\\}|-#\\}${space}*|#\\}\\n?`, 'g'),
  blockEnd: new RegExp(`\\+%\\}|-%\\}${space}*|%\\}\\n?`, 'y'),
  variableEnd: new RegExp(`-\\}\\}${space}*|\\}\\}`, 'y'),
  whitespace: new RegExp(`${space}+`, 'y'),
  float: /(?:\d+_)*\d+(?:(?:\.(?:\d+_)*\d+)?e[+-]?(?:\d+_)*\d+|\.(?:\d+_)*\d+)/iy,
  integer: /0b(?:_?[01])+|0o(?:_?[0-7])+|0x(?:_?[\da-f])+|[1-9](?:_?\d)*|0(?:_?0)*/iy,
  name: /[\p{L}\p{Nl}_][\p{L}\p{Nl}\p{Mn}\p{Mc}\p{Nd}\p{Pc}]*/uy,
  string: /'[^'\\]*(?:\\.[^'\\]*)*'|"[^"\\]*(?:\\.[^"\\]*)*"/sy,
  operator: /\/\/|\*\*|==|!=|>=|<=|[-+/*%~[\](){}><=.:|,;]/y,
};
const closers: Readonly<Record<string, string>> = { ')': '(', ']': '[', '}': '{' };

/**
 * Jinja's lexer with trim_blocks and lstrip_blocks on and keep_trailing_newline off, which is how
 * transformers sets it: a newline after a block goes, and so does the space before one that stands
 * first in its line.
 */
export function tokenize(template: string): Token[] {
  return new Lexer(template.replace(/\r\n?/g, '\n').replace(/\n$/, '')).run();
}

class Lexer {
  private readonly source: string;
  private readonly tokens: Token[] = [];
  private at = 0;
  private line = 1;
  /** Whether what was read last ended a line. */
  private lineStarts = true;

  constructor(source: string) {
    this.source = source;
  }

  run(): Token[] {
    while (this.at < this.source.length) this.outside();
    this.push('end', '');
    return this.tokens;
  }

  /** Text up to the next tag, and then that tag. */
  private outside(): void {
    const start = this.at;
    let open = this.source.indexOf('{', start);
    while (open >= 0 && !'%{#'.includes(this.source.charAt(open + 1) || ' ')) {
      open = this.source.indexOf('{', open + 1);
    }
    if (open < 0) {
      this.push('data', this.source.slice(start));
      this.at = this.source.length;
      return;
    }
    const mark = this.source.charAt(open + 1);
    const sign = this.source.charAt(open + 2);
    const data = this.source.slice(start, open);
    this.push('data', this.stripped(data, sign, mark !== '{'));
    this.advance(open);
    if (mark === '#') return this.comment();
    if (mark === '%' && this.match('rawBegin') !== undefined) {
      if (this.at < this.source.length) this.raw();
      return;
    }
    this.advance(open + (sign === '-' || sign === '+' ? 3 : 2));
    this.push(mark === '%' ? 'blockBegin' : 'variableBegin', '');
    this.inside(mark === '%' ? 'blockEnd' : 'variableEnd');
  }

  /** The text before a tag, without what its sign or lstrip_blocks takes off. */
  private stripped(data: string, sign: string, isBlock: boolean): string {
    if (sign === '-') {
      return data.slice(...innerRange(data, isWhitespace, { left: false, right: true }));
    }
    if (sign === '+' || !isBlock) return data;
    const lineStart = data.lastIndexOf('\n') + 1;
    if (lineStart === 0 && !this.lineStarts) return data;
    const lead = data.slice(lineStart);
    return blank.test(lead) ? data.slice(0, lineStart) : data;
  }

  private comment(): void {
    patterns.commentEnd.lastIndex = this.at + 2;
    const end = patterns.commentEnd.exec(this.source);
    if (end === null) throw syntaxError('Missing end of comment tag', this.line);
    this.advance(end.index + end[0].length);
  }

  private raw(): void {
    const start = this.at;
    patterns.rawEnd.lastIndex = start;
    const end = patterns.rawEnd.exec(this.source);
    if (end === null) throw syntaxError('Missing end of raw directive', this.line);
    this.push('data', this.stripped(this.source.slice(start, end.index), end[1] ?? '', true));
    this.advance(end.index + end[0].length);
  }

  /** The tokens of one tag, its end included. */
  private inside(end: 'blockEnd' | 'variableEnd'): void {
    const opened: string[] = [];
    for (;;) {
      if (opened.length === 0 && this.match(end) !== undefined) return this.push(end, '');
      if (this.at >= this.source.length) throw syntaxError('a tag is not closed', this.line);
      if (this.match('whitespace') !== undefined) continue;
      const afterDot = this.source.charAt(this.at - 1) === '.';
      const float = afterDot ? undefined : this.match('float');
      if (float !== undefined) {
        this.push('float', float.replaceAll('_', ''));
        continue;
      }
      const integer = this.match('integer');
      if (integer !== undefined) {
        this.push('integer', integer.replaceAll('_', ''));
        continue;
      }
      const name = this.match('name');
      if (name !== undefined) {
        this.push('name', name);
        continue;
      }
      const string = this.match('string');
      if (string !== undefined) {
        this.push('string', unescapeString(string.slice(1, -1), this.line));
        continue;
      }
      this.operator(opened);
    }
  }

  private operator(opened: string[]): void {
    const operator = this.match('operator');
    if (operator === undefined) {
      throw syntaxError(`unexpected char '${this.source.charAt(this.at)}'`, this.line);
    }
    if ('([{'.includes(operator)) opened.push(operator);
    const opener = closers[operator];
    if (opener !== undefined && opened.pop() !== opener) {
      throw syntaxError(`unexpected '${operator}'`, this.line);
    }
    this.push('operator', operator);
  }

  private match(pattern: keyof typeof patterns): string | undefined {
    const expression = patterns[pattern];
    expression.lastIndex = this.at;
    const found = expression.exec(this.source)?.[0];
    if (found === undefined) return undefined;
    this.advance(this.at + found.length);
    return found;
  }

  private advance(to: number): void {
    const passed = this.source.slice(this.at, to);
    if (passed === '') return;
    for (const unit of passed) if (unit === '\n') this.line += 1;
    this.lineStarts = passed.endsWith('\n');
    this.at = to;
  }

  private push(kind: TokenKind, value: string): void {
    if (kind === 'data' && value === '') return;
    this.tokens.push({ kind, value, line: this.line });
  }
}
