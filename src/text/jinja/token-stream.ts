import type { Token, TokenKind } from './lexer.ts';
import { syntaxError } from './syntax.ts';

/** The tokens of a template with one token of look-ahead. */
export class TokenStream {
  private readonly tokens: readonly Token[];
  private at = 0;

  /** `tokens` ends with an `end` token. */
  constructor(tokens: readonly Token[]) {
    this.tokens = tokens;
  }

  get current(): Token {
    return this.look(0);
  }

  private look(ahead: number): Token {
    const last = this.tokens.length - 1;
    return this.tokens[Math.min(this.at + ahead, last)] ?? { kind: 'end', value: '', line: 0 };
  }

  next(): Token {
    const token = this.current;
    this.at += 1;
    return token;
  }

  expect(kind: TokenKind): Token {
    if (this.current.kind !== kind) this.fail(`expected ${kind}, got ${this.here()}`);
    return this.next();
  }

  isName(name: string): boolean {
    return this.current.kind === 'name' && this.current.value === name;
  }

  isOperator(operator: string): boolean {
    return this.current.kind === 'operator' && this.current.value === operator;
  }

  nextIsName(name: string): boolean {
    const token = this.look(1);
    return token.kind === 'name' && token.value === name;
  }

  nextIsOperator(operator: string): boolean {
    const token = this.look(1);
    return token.kind === 'operator' && token.value === operator;
  }

  skipName(name: string): boolean {
    if (!this.isName(name)) return false;
    this.at += 1;
    return true;
  }

  skipOperator(operator: string): boolean {
    if (!this.isOperator(operator)) return false;
    this.at += 1;
    return true;
  }

  expectName(name: string): void {
    if (!this.skipName(name)) this.fail(`expected '${name}', got ${this.here()}`);
  }

  expectOperator(operator: string): void {
    if (!this.skipOperator(operator)) this.fail(`expected '${operator}', got ${this.here()}`);
  }

  /** The current token for a message. */
  here(): string {
    const { kind, value } = this.current;
    return value === '' ? kind : `'${value}'`;
  }

  fail(message: string): never {
    throw syntaxError(message, this.current.line);
  }
}
