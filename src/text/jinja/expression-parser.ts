import type { BinaryOperator, CallArguments, CompareOperator, Expression } from './syntax.ts';
import type { FilterCall, Slice } from './syntax.ts';
import { Float, text, Tuple } from './values.ts';
import type { TokenStream } from './token-stream.ts';

const compareOperators: readonly CompareOperator[] = ['==', '!=', '<', '<=', '>', '>='];
const constants: ReadonlyMap<string, true | false | null> = new Map([
  ['true', true],
  ['True', true],
  ['false', false],
  ['False', false],
  ['none', null],
  ['None', null],
]);

/**
 * Jinja's expression grammar, one method a level of precedence, lowest first:
 * if-else, or, and, not, comparison, + -, ~, * / // %, **, sign, postfix, filter and test.
 */
export class ExpressionParser {
  readonly stream: TokenStream;

  constructor(stream: TokenStream) {
    this.stream = stream;
  }

  expression(withConditional = true): Expression {
    return withConditional ? this.conditional() : this.or();
  }

  /** One expression, or a tuple where commas follow. `end` names a keyword that ends it too. */
  tuple(
    options: { withConditional?: boolean; end?: string; parenthesized?: boolean } = {},
  ): Expression {
    const items: Expression[] = [];
    let isTuple = false;
    for (;;) {
      if (items.length > 0) this.stream.expectOperator(',');
      if (this.atTupleEnd(options.end)) break;
      items.push(this.expression(options.withConditional ?? true));
      if (!this.stream.isOperator(',')) break;
      isTuple = true;
    }
    const [only] = items;
    if (!isTuple && only !== undefined) return only;
    if (items.length === 0 && options.parenthesized === true) {
      return { kind: 'constant', value: new Tuple([]) };
    }
    if (items.length === 0) this.stream.fail(`Expected an expression, got ${this.stream.here()}`);
    return { kind: 'tuple', items };
  }

  private atTupleEnd(end: string | undefined): boolean {
    const { kind } = this.stream.current;
    if (kind === 'variableEnd' || kind === 'blockEnd' || this.stream.isOperator(')')) return true;
    return end !== undefined && this.stream.isName(end);
  }

  private conditional(): Expression {
    let value = this.or();
    while (this.stream.skipName('if')) {
      const test = this.or();
      const otherwise = this.stream.skipName('else') ? this.conditional() : null;
      value = { kind: 'conditional', test, value, otherwise };
    }
    return value;
  }

  private or(): Expression {
    let left = this.and();
    while (this.stream.skipName('or')) {
      left = { kind: 'logical', operator: 'or', left, right: this.and() };
    }
    return left;
  }

  private and(): Expression {
    let left = this.not();
    while (this.stream.skipName('and')) {
      left = { kind: 'logical', operator: 'and', left, right: this.not() };
    }
    return left;
  }

  private not(): Expression {
    if (this.stream.skipName('not')) {
      return { kind: 'unary', operator: 'not', operand: this.not() };
    }
    return this.comparison();
  }

  private comparison(): Expression {
    const first = this.sum();
    const rest: [CompareOperator, Expression][] = [];
    for (;;) {
      const operator = compareOperators.find((candidate) => this.stream.isOperator(candidate));
      if (operator !== undefined) {
        this.stream.next();
        rest.push([operator, this.sum()]);
      } else if (this.stream.skipName('in')) {
        rest.push(['in', this.sum()]);
      } else if (this.stream.isName('not') && this.stream.nextIsName('in')) {
        this.stream.next();
        this.stream.next();
        rest.push(['not in', this.sum()]);
      } else {
        return rest.length === 0 ? first : { kind: 'compare', first, rest };
      }
    }
  }

  private binary(operators: readonly BinaryOperator[], operand: () => Expression): Expression {
    let left = operand();
    for (;;) {
      const operator = operators.find((candidate) => this.stream.isOperator(candidate));
      if (operator === undefined) return left;
      this.stream.next();
      left = { kind: 'binary', operator, left, right: operand() };
    }
  }

  private sum(): Expression {
    return this.binary(['+', '-'], () => this.concatenation());
  }

  private concatenation(): Expression {
    const parts = [this.product()];
    while (this.stream.skipOperator('~')) parts.push(this.product());
    const [first] = parts;
    return parts.length === 1 && first !== undefined ? first : { kind: 'concat', parts };
  }

  private product(): Expression {
    return this.binary(['*', '/', '//', '%'], () => this.power());
  }

  private power(): Expression {
    return this.binary(['**'], () => this.unary(true));
  }

  private unary(withFilter: boolean): Expression {
    let value: Expression;
    if (this.stream.skipOperator('-')) {
      value = { kind: 'unary', operator: '-', operand: this.unary(false) };
    } else if (this.stream.skipOperator('+')) {
      value = { kind: 'unary', operator: '+', operand: this.unary(false) };
    } else {
      value = this.primary();
    }
    value = this.postfix(value);
    return withFilter ? this.filtersAndTests(value) : value;
  }

  primary(): Expression {
    const token = this.stream.next();
    if (token.kind === 'name') {
      const constant = constants.get(token.value);
      if (constant !== undefined) return { kind: 'constant', value: constant };
      return { kind: 'name', name: token.value };
    }
    if (token.kind === 'string') {
      let value = token.value;
      while (this.stream.current.kind === 'string') value += this.stream.next().value;
      return { kind: 'constant', value: text(value) };
    }
    if (token.kind === 'integer') return { kind: 'constant', value: this.integer(token.value) };
    if (token.kind === 'float') {
      return { kind: 'constant', value: new Float(Number(token.value)) };
    }
    if (token.kind === 'operator') return this.bracketed(token.value);
    return this.stream.fail(`unexpected ${token.kind}`);
  }

  private bracketed(opener: string): Expression {
    if (opener === '[') return { kind: 'list', items: this.listItems() };
    if (opener === '{') return { kind: 'dict', entries: this.dictEntries() };
    if (opener !== '(') return this.stream.fail(`unexpected '${opener}'`);
    const value = this.tuple({ parenthesized: true });
    this.stream.expectOperator(')');
    return value;
  }

  private integer(digits: string): number {
    const value = Number(digits);
    if (!Number.isSafeInteger(value)) this.stream.fail(`the number ${digits} is too large`);
    return value;
  }

  private listItems(): Expression[] {
    const items: Expression[] = [];
    while (!this.stream.skipOperator(']')) {
      if (items.length > 0) {
        this.stream.expectOperator(',');
        if (this.stream.skipOperator(']')) break;
      }
      items.push(this.expression());
    }
    return items;
  }

  private dictEntries(): [Expression, Expression][] {
    const entries: [Expression, Expression][] = [];
    while (!this.stream.skipOperator('}')) {
      if (entries.length > 0) {
        this.stream.expectOperator(',');
        if (this.stream.skipOperator('}')) break;
      }
      const key = this.expression();
      this.stream.expectOperator(':');
      entries.push([key, this.expression()]);
    }
    return entries;
  }

  postfix(start: Expression): Expression {
    let value = start;
    for (;;) {
      if (this.stream.skipOperator('.')) value = this.member(value);
      else if (this.stream.skipOperator('[')) value = this.subscript(value);
      else if (this.stream.isOperator('(')) {
        value = { kind: 'call', callee: value, args: this.callArguments() };
      } else return value;
    }
  }

  private member(object: Expression): Expression {
    const token = this.stream.next();
    if (token.kind === 'name') return { kind: 'attribute', object, name: token.value };
    if (token.kind !== 'integer') this.stream.fail('expected name or number');
    return { kind: 'item', object, index: { kind: 'constant', value: this.integer(token.value) } };
  }

  private subscript(object: Expression): Expression {
    const parts: Expression[] = [];
    while (!this.stream.skipOperator(']')) {
      if (parts.length > 0) this.stream.expectOperator(',');
      parts.push(this.subscriptPart());
    }
    const [only] = parts;
    const index: Expression =
      parts.length === 1 && only !== undefined ? only : { kind: 'tuple', items: parts };
    return { kind: 'item', object, index };
  }

  private subscriptPart(): Expression {
    const part = (): Expression | null =>
      this.stream.isOperator(':') || this.stream.isOperator(']') || this.stream.isOperator(',')
        ? null
        : this.expression();
    const start = part();
    if (!this.stream.skipOperator(':')) {
      return start ?? this.stream.fail('expected subscript expression');
    }
    const slice: Slice = { kind: 'slice', start, stop: part(), step: null };
    if (this.stream.skipOperator(':')) slice.step = part();
    return slice;
  }

  callArguments(): CallArguments {
    const args: CallArguments = { positional: [], named: [], spread: null, namedSpread: null };
    this.stream.expectOperator('(');
    let first = true;
    while (!this.stream.skipOperator(')')) {
      if (!first) {
        this.stream.expectOperator(',');
        if (this.stream.skipOperator(')')) break;
      }
      first = false;
      this.argument(args);
    }
    return args;
  }

  private argument(args: CallArguments): void {
    const check = (allowed: boolean): void => {
      if (!allowed) this.stream.fail('invalid syntax for function call expression');
    };
    if (this.stream.skipOperator('*')) {
      check(args.spread === null && args.namedSpread === null);
      args.spread = this.expression();
    } else if (this.stream.skipOperator('**')) {
      check(args.namedSpread === null);
      args.namedSpread = this.expression();
    } else if (this.stream.current.kind === 'name' && this.stream.nextIsOperator('=')) {
      check(args.namedSpread === null);
      const name = this.stream.next().value;
      this.stream.next();
      args.named.push([name, this.expression()]);
    } else {
      check(args.spread === null && args.namedSpread === null && args.named.length === 0);
      args.positional.push(this.expression());
    }
  }

  private filtersAndTests(start: Expression): Expression {
    let value = start;
    for (;;) {
      if (this.stream.skipOperator('|')) {
        value = { kind: 'filter', input: value, filter: this.filterCall() };
      } else if (this.stream.skipName('is')) {
        value = this.test(value);
      } else if (this.stream.isOperator('(')) {
        value = { kind: 'call', callee: value, args: this.callArguments() };
      } else return value;
    }
  }

  filterCall(): FilterCall {
    const name = this.dottedName();
    const args = this.stream.isOperator('(') ? this.callArguments() : noCallArguments();
    return { name, args };
  }

  private dottedName(): string {
    let name = this.stream.expect('name').value;
    while (this.stream.skipOperator('.')) name += `.${this.stream.expect('name').value}`;
    return name;
  }

  private test(input: Expression): Expression {
    const negated = this.stream.skipName('not');
    const name = this.dottedName();
    let args = noCallArguments();
    if (this.stream.isOperator('(')) args = this.callArguments();
    else if (this.testArgumentFollows()) args.positional.push(this.postfix(this.primary()));
    const test: Expression = { kind: 'test', input, name, args };
    return negated ? { kind: 'unary', operator: 'not', operand: test } : test;
  }

  private testArgumentFollows(): boolean {
    const { kind, value } = this.stream.current;
    if (kind === 'operator') return value === '[' || value === '{';
    if (kind !== 'name') return kind === 'string' || kind === 'integer' || kind === 'float';
    if (value === 'is') this.stream.fail('You cannot chain multiple tests with is');
    return value !== 'else' && value !== 'or' && value !== 'and';
  }
}

function noCallArguments(): CallArguments {
  return { positional: [], named: [], spread: null, namedSpread: null };
}
