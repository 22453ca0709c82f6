import { ExpressionParser } from './expression-parser.ts';
import { tokenize } from './lexer.ts';
import type { Expression, FilterCall, Signature, Statement, Target } from './syntax.ts';
import { TokenStream } from './token-stream.ts';

/**
 * Parses a template as Jinja 3.1 does, with the loop controls and transformers' `generation`
 * blocks. Fails with `template_invalid`. Tags that need other templates (include, import, extends)
 * are refused: a chat template stands alone.
 */
export function parseTemplate(source: string): Statement[] {
  return new StatementParser(new TokenStream(tokenize(source))).template();
}

class StatementParser {
  private readonly stream: TokenStream;
  private readonly expressions: ExpressionParser;
  private loopDepth = 0;

  constructor(stream: TokenStream) {
    this.stream = stream;
    this.expressions = new ExpressionParser(stream);
  }

  template(): Statement[] {
    const body = this.statements([]);
    if (this.stream.current.kind !== 'end') this.stream.fail(`unexpected ${this.stream.here()}`);
    return body;
  }

  /**
   * Statements up to a tag that starts with one of `ends`, whose name is then the current token.
   */
  private statements(ends: readonly string[]): Statement[] {
    const body: Statement[] = [];
    for (;;) {
      const token = this.stream.current;
      if (token.kind === 'end') {
        if (ends.length > 0) this.stream.fail(`Unexpected end of template, expected ${ends[0]}`);
        return body;
      }
      this.stream.next();
      if (token.kind === 'data') {
        body.push({ kind: 'data', text: token.value });
      } else if (token.kind === 'variableBegin') {
        body.push({ kind: 'print', value: this.expressions.tuple() });
        this.stream.expect('variableEnd');
      } else if (ends.some((end) => this.stream.isName(end))) {
        return body;
      } else {
        body.push(...this.statement());
        this.stream.expect('blockEnd');
      }
    }
  }

  /**
   * The body of a block from the end of its opening tag; returns with its closing tag's name read.
   */
  private body(...ends: string[]): { body: Statement[]; end: string } {
    this.stream.skipOperator(':');
    this.stream.expect('blockEnd');
    const body = this.statements(ends);
    return { body, end: this.stream.next().value };
  }

  private statement(): Statement[] {
    const tag = this.stream.expect('name').value;
    switch (tag) {
      case 'if':
        return [this.ifStatement()];
      case 'for':
        return [this.forStatement()];
      case 'set':
        return [this.setStatement()];
      case 'macro':
        return [this.macro()];
      case 'call':
        return [this.callBlock()];
      case 'filter':
        return [{ kind: 'filterBlock', filters: this.filterChain(), ...this.only('endfilter') }];
      case 'with':
        return [this.withStatement()];
      case 'generation':
        return [{ kind: 'scope', ...this.only('endgeneration') }];
      case 'block':
        return [this.block()];
      case 'print':
        return this.print();
      case 'break':
      case 'continue':
        if (this.loopDepth === 0) this.stream.fail(`'${tag}' outside loop`);
        return [{ kind: tag }];
      default:
        return this.stream.fail(`Encountered unknown tag '${tag}'.`);
    }
  }

  private only(end: string): { body: Statement[] } {
    return { body: this.body(end).body };
  }

  private ifStatement(): Statement {
    const branches: { test: Expression; body: Statement[] }[] = [];
    for (;;) {
      const test = this.expressions.tuple({ withConditional: false });
      const { body, end } = this.body('elif', 'else', 'endif');
      branches.push({ test, body });
      if (end === 'elif') continue;
      const otherwise = end === 'else' ? this.body('endif').body : [];
      return { kind: 'if', branches, otherwise };
    }
  }

  private forStatement(): Statement {
    const target = this.target('in');
    this.stream.expectName('in');
    const iterable = this.expressions.tuple({ withConditional: false, end: 'recursive' });
    const test = this.stream.skipName('if') ? this.expressions.expression() : null;
    const recursive = this.stream.skipName('recursive');
    this.loopDepth += 1;
    const { body, end } = this.body('endfor', 'else');
    this.loopDepth -= 1;
    const otherwise = end === 'else' ? this.body('endfor').body : [];
    return { kind: 'for', target, iterable, test, recursive, body, otherwise };
  }

  private setStatement(): Statement {
    const target = this.target();
    if (this.stream.skipOperator('=')) {
      return { kind: 'set', target, value: this.expressions.tuple() };
    }
    const filters = this.stream.skipOperator('|') ? this.filterChain() : [];
    return { kind: 'setBlock', target, filters, ...this.only('endset') };
  }

  private filterChain(): FilterCall[] {
    const filters = [this.expressions.filterCall()];
    while (this.stream.skipOperator('|')) filters.push(this.expressions.filterCall());
    return filters;
  }

  private macro(): Statement {
    const name = this.stream.expect('name').value;
    const signature = this.signature();
    return { kind: 'macro', name, signature, ...this.outsideLoops('endmacro') };
  }

  /** A body that is a function of its own, where an outer loop's break would mean nothing. */
  private outsideLoops(end: string): { body: Statement[] } {
    const depth = this.loopDepth;
    this.loopDepth = 0;
    const body = this.only(end);
    this.loopDepth = depth;
    return body;
  }

  private callBlock(): Statement {
    const signature = this.stream.isOperator('(')
      ? this.signature()
      : { parameters: [], defaults: [] };
    const call = this.expressions.expression();
    if (call.kind !== 'call') return this.stream.fail('expected call');
    return { kind: 'callBlock', call, signature, ...this.outsideLoops('endcall') };
  }

  private signature(): Signature {
    const signature: Signature = { parameters: [], defaults: [] };
    this.stream.expectOperator('(');
    while (!this.stream.skipOperator(')')) {
      if (signature.parameters.length > 0) this.stream.expectOperator(',');
      signature.parameters.push(this.stream.expect('name').value);
      if (this.stream.skipOperator('=')) signature.defaults.push(this.expressions.expression());
      else if (signature.defaults.length > 0) {
        this.stream.fail('non-default argument follows default argument');
      }
    }
    return signature;
  }

  private withStatement(): Statement {
    const bindings: [Target, Expression][] = [];
    while (this.stream.current.kind !== 'blockEnd') {
      if (bindings.length > 0) this.stream.expectOperator(',');
      const target = this.singleTarget();
      this.stream.expectOperator('=');
      bindings.push([target, this.expressions.expression()]);
    }
    return { kind: 'with', bindings, ...this.only('endwith') };
  }

  private block(): Statement {
    const name = this.stream.expect('name').value;
    this.stream.skipName('scoped');
    const statement: Statement = { kind: 'scope', ...this.outsideLoops('endblock') };
    this.stream.skipName(name);
    return statement;
  }

  private print(): Statement[] {
    const printed: Statement[] = [];
    while (this.stream.current.kind !== 'blockEnd') {
      if (printed.length > 0) this.stream.expectOperator(',');
      printed.push({ kind: 'print', value: this.expressions.expression() });
    }
    return printed;
  }

  /**
   * An assignment target; several with commas between them up to `=`, a keyword or the tag's end.
   */
  private target(end?: string): Target {
    const items: Target[] = [this.singleTarget()];
    let isTuple = false;
    while (this.stream.skipOperator(',')) {
      isTuple = true;
      const atEnd = this.stream.isOperator('=') || this.stream.current.kind === 'blockEnd';
      if (atEnd || (end !== undefined && this.stream.isName(end))) break;
      items.push(this.singleTarget());
    }
    const [only] = items;
    return !isTuple && only !== undefined ? only : { kind: 'targets', items };
  }

  private singleTarget(): Target {
    if (this.stream.skipOperator('(')) {
      const items = [this.singleTarget()];
      while (this.stream.skipOperator(',')) {
        if (this.stream.isOperator(')')) break;
        items.push(this.singleTarget());
      }
      this.stream.expectOperator(')');
      return { kind: 'targets', items };
    }
    const name = this.stream.expect('name').value;
    if (['true', 'True', 'false', 'False', 'none', 'None'].includes(name)) {
      this.stream.fail("can't assign to 'const'");
    }
    if (!this.stream.skipOperator('.')) return { kind: 'name', name };
    return { kind: 'member', object: name, name: this.stream.expect('name').value };
  }
}
