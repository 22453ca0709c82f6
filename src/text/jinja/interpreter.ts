import { CideryError } from '../../base/error.ts';
import { limits } from '../../base/limits.ts';
import { Evaluator } from './evaluator.ts';
import { createMacro } from './macro.ts';
import { MarkedText } from './marked-text.ts';
import { Scope } from './scope.ts';
import { stringify } from './stringify.ts';
import type { FilterCall, ForStatement, Signature, Statement, Target } from './syntax.ts';
import { type Arguments, Dict, failure, isTrue, iterate, Loop, Namespace } from './values.ts';
import { nameText, text, typeName, type Callable, type Value } from './values.ts';

/** How a block ended: at its end, or by a loop control. */
type Ending = 'end' | 'break' | 'continue';

/** What blocks print, up to the limit on a template's output. */
class Output {
  readonly parts: MarkedText[] = [];
  private length = 0;

  add(part: MarkedText): void {
    this.length += part.text.length;
    if (this.length > limits.templateOutputMaxCharacters) {
      throw new CideryError('template_too_large', 'the chat template printed too much text', {
        hint: 'send fewer or shorter messages',
      });
    }
    this.parts.push(part);
  }
}

/** Runs a parsed template. One use renders one text. */
export class Interpreter {
  private readonly evaluator = new Evaluator();

  /** Fails with `template_failed`, `template_refused` or `template_too_large`. */
  render(template: readonly Statement[], globals: Iterable<readonly [string, Value]>): MarkedText {
    const scope = new Scope(new Scope(null, globals));
    try {
      return this.capture(template, scope);
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      throw failure('its values or calls are nested too deeply');
    }
  }

  private capture(body: readonly Statement[], scope: Scope): MarkedText {
    const output = new Output();
    this.block(body, scope, output);
    return MarkedText.join(output.parts);
  }

  private block(body: readonly Statement[], scope: Scope, output: Output): Ending {
    for (const statement of body) {
      const ending = this.statement(statement, scope, output);
      if (ending !== 'end') return ending;
    }
    return 'end';
  }

  private statement(node: Statement, scope: Scope, output: Output): Ending {
    switch (node.kind) {
      case 'data':
        output.add(text(node.text));
        return 'end';
      case 'print':
        output.add(stringify(this.evaluator.evaluate(node.value, scope)));
        return 'end';
      case 'if': {
        const taken = node.branches.find(({ test }) =>
          isTrue(this.evaluator.evaluate(test, scope)),
        );
        return this.block(taken?.body ?? node.otherwise, scope, output);
      }
      case 'for':
        this.forLoop(node, this.evaluator.evaluate(node.iterable, scope), scope, output, 0);
        return 'end';
      case 'scope':
        return this.block(node.body, new Scope(scope), output);
      case 'break':
      case 'continue':
        return node.kind;
      case 'set':
        this.assign(node.target, this.evaluator.evaluate(node.value, scope), scope);
        return 'end';
      case 'setBlock':
        this.assign(node.target, this.filtered(node, scope), scope);
        return 'end';
      case 'filterBlock':
        output.add(stringify(this.filtered(node, scope)));
        return 'end';
      case 'macro':
        scope.set(node.name, this.macro(node, scope));
        return 'end';
      case 'callBlock':
        output.add(this.callBlock(node, scope));
        return 'end';
      case 'with':
        return this.withBlock(node, scope, output);
      default:
        return node satisfies never;
    }
  }

  private filtered(node: { filters: FilterCall[]; body: Statement[] }, scope: Scope): Value {
    return node.filters.reduce<Value>(
      (input, filter) => this.evaluator.filter(filter, input, scope),
      this.capture(node.body, new Scope(scope)),
    );
  }

  private callBlock(node: Extract<Statement, { kind: 'callBlock' }>, scope: Scope): MarkedText {
    const args = this.evaluator.arguments(node.call.args, scope);
    const named = new Map(args.named);
    named.set('caller', this.macro({ name: 'caller', ...node }, scope));
    const callee = this.evaluator.evaluate(node.call.callee, scope);
    return stringify(this.evaluator.call(callee, { positional: args.positional, named }));
  }

  private withBlock(
    node: Extract<Statement, { kind: 'with' }>,
    scope: Scope,
    output: Output,
  ): Ending {
    const inner = new Scope(scope);
    for (const [target, value] of node.bindings) {
      this.assign(target, this.evaluator.evaluate(value, scope), inner);
    }
    return this.block(node.body, inner, output);
  }

  private macro(
    node: { name: string; signature: Signature; body: Statement[] },
    scope: Scope,
  ): Callable {
    return createMacro(node, scope, {
      evaluate: (expression, inner) => this.evaluator.evaluate(expression, inner),
      capture: (body, inner) => this.capture(body, inner),
    });
  }

  private assign(target: Target, value: Value, scope: Scope): void {
    switch (target.kind) {
      case 'name':
        scope.set(target.name, value);
        return;
      case 'member': {
        const namespace = scope.get(target.object);
        if (!(namespace instanceof Namespace)) {
          throw failure('cannot assign attribute on non-namespace object');
        }
        setNamespace(namespace, target.name, value);
        return;
      }
      case 'targets': {
        const items = iterate(value);
        if (items.length !== target.items.length) {
          const which = items.length < target.items.length ? 'not enough' : 'too many';
          throw failure(`${which} values to unpack (expected ${target.items.length})`);
        }
        target.items.forEach((inner, at) => this.assign(inner, items[at] ?? null, scope));
        return;
      }
      default:
        return target satisfies never;
    }
  }

  private forLoop(
    node: ForStatement,
    iterable: Value,
    scope: Scope,
    output: Output,
    depth0: number,
  ): void {
    const items = iterate(iterable).filter((item) => {
      if (node.test === null) return true;
      const inner = new Scope(scope);
      this.assign(node.target, item, inner);
      return isTrue(this.evaluator.evaluate(node.test, inner));
    });
    const recurse = node.recursive
      ? (args: Arguments): Value => {
          const inner = new Output();
          const [value] = args.positional;
          if (value === undefined) throw failure('loop() needs what to loop over');
          this.forLoop(node, value, scope, inner, depth0 + 1);
          return MarkedText.join(inner.parts);
        }
      : null;
    const loop = new Loop(items, depth0, recurse);
    let hasEnded = false;
    for (const [index, item] of items.entries()) {
      loop.index0 = index;
      const inner = new Scope(scope, [['loop', loop]]);
      this.assign(node.target, item, inner);
      const ending = this.block(node.body, inner, output);
      if (ending === 'break') break;
      // Jinja counts an iteration only when its body reached the end.
      if (ending === 'end') hasEnded = true;
    }
    if (!hasEnded) this.block(node.otherwise, new Scope(scope), output);
  }
}

/** transformers refuses names with an underscore in front. */
function setNamespace(namespace: Namespace, name: string, value: Value): void {
  if (name.startsWith('_')) throw failure(`a namespace takes no name such as '${name}'`);
  namespace.attributes.set(name, value);
}

/** `namespace(…)`: from mappings or pairs, and from names. */
export function createNamespace(args: Arguments): Namespace {
  const namespace = new Namespace();
  for (const [key, value] of createDict(args).entries()) {
    setNamespace(namespace, stringify(key).text, value);
  }
  return namespace;
}

/** `dict(…)`, as Python's. */
export function createDict(args: Arguments): Dict {
  const [source] = args.positional;
  const dict = new Dict();
  if (source instanceof Dict) for (const [key, value] of source.entries()) dict.set(key, value);
  else if (source !== undefined) {
    for (const pair of iterate(source)) {
      const [key, value, ...more] = iterate(pair);
      if (key === undefined || value === undefined || more.length > 0) {
        throw failure(`dict() needs pairs, not '${typeName(pair)}'`);
      }
      dict.set(key, value);
    }
  }
  for (const [name, value] of args.named) dict.set(nameText(name), value);
  return dict;
}
