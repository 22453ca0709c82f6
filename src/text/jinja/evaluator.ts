import { getAttribute, getItem } from './attributes.ts';
import { filters } from './filters.ts';
import { MarkedText } from './marked-text.ts';
import { binary, compare, signed, slice } from './operators.ts';
import type { Scope } from './scope.ts';
import { stringify } from './stringify.ts';
import type { CallArguments, CompareOperator, Expression, FilterCall, Slice } from './syntax.ts';
import { tests } from './tests.ts';
import {
  type Arguments,
  Callable,
  defined,
  Dict,
  failure,
  isTrue,
  iterate,
  List,
} from './values.ts';
import { Loop, Tuple, typeName, Undefined, type Value } from './values.ts';

/** Evaluates expressions. */
export class Evaluator {
  evaluate(node: Expression, scope: Scope): Value {
    switch (node.kind) {
      case 'constant':
        return node.value;
      case 'name': {
        const value = scope.get(node.name);
        return value === undefined ? new Undefined(`'${node.name}' is undefined`) : value;
      }
      case 'list':
        return new List(node.items.map((item) => this.evaluate(item, scope)));
      case 'tuple':
        return new Tuple(node.items.map((item) => this.evaluate(item, scope)));
      case 'dict':
        return Dict.of(
          node.entries.map(([key, value]): [Value, Value] => [
            this.evaluate(key, scope),
            this.evaluate(value, scope),
          ]),
        );
      case 'attribute':
        return getAttribute(this.evaluate(node.object, scope), node.name);
      case 'item':
        return this.item(node.object, node.index, scope);
      case 'slice':
        throw failure('a slice stands only inside brackets');
      case 'call':
        return this.call(this.evaluate(node.callee, scope), this.arguments(node.args, scope));
      case 'filter':
        return this.filter(node.filter, this.evaluate(node.input, scope), scope);
      case 'test':
        return this.test(
          node.name,
          this.evaluate(node.input, scope),
          this.arguments(node.args, scope),
        );
      case 'unary': {
        const operand = this.evaluate(node.operand, scope);
        return node.operator === 'not' ? !isTrue(operand) : signed(node.operator, operand);
      }
      case 'binary':
        return binary(
          node.operator,
          this.evaluate(node.left, scope),
          this.evaluate(node.right, scope),
        );
      case 'logical': {
        const left = this.evaluate(node.left, scope);
        const isDecided = isTrue(left) === (node.operator === 'or');
        return isDecided ? left : this.evaluate(node.right, scope);
      }
      case 'compare':
        return this.comparison(node.first, node.rest, scope);
      case 'concat':
        return MarkedText.join(node.parts.map((part) => stringify(this.evaluate(part, scope))));
      case 'conditional':
        if (isTrue(this.evaluate(node.test, scope))) return this.evaluate(node.value, scope);
        if (node.otherwise !== null) return this.evaluate(node.otherwise, scope);
        return new Undefined(
          'the inline if-expression evaluated to false and no else section was defined.',
        );
      default:
        return node satisfies never;
    }
  }

  private comparison(
    first: Expression,
    rest: readonly [CompareOperator, Expression][],
    scope: Scope,
  ): boolean {
    let left = this.evaluate(first, scope);
    for (const [operator, operand] of rest) {
      const right = this.evaluate(operand, scope);
      if (!compare(operator, left, right)) return false;
      left = right;
    }
    return true;
  }

  private item(objectNode: Expression, index: Expression, scope: Scope): Value {
    const object = this.evaluate(objectNode, scope);
    if (index.kind !== 'slice') return getItem(object, this.evaluate(index, scope));
    const part = slice(defined(object), this.sliceBounds(index, scope));
    if (part !== undefined) return part;
    return new Undefined(`'${typeName(object)} object' cannot be sliced`);
  }

  private sliceBounds(node: Slice, scope: Scope): Value[] {
    return [node.start, node.stop, node.step].map((bound) =>
      bound === null ? null : this.evaluate(bound, scope),
    );
  }

  arguments(args: CallArguments, scope: Scope): Arguments {
    const positional = args.positional.map((value) => this.evaluate(value, scope));
    const named = new Map<string, Value>();
    for (const [name, value] of args.named) named.set(name, this.evaluate(value, scope));
    if (args.spread !== null) positional.push(...iterate(this.evaluate(args.spread, scope)));
    if (args.namedSpread !== null) {
      const extra = this.evaluate(args.namedSpread, scope);
      if (!(extra instanceof Dict)) throw failure('argument after ** must be a mapping');
      for (const [key, value] of extra.entries()) named.set(stringify(key).text, value);
    }
    return { positional, named };
  }

  call(callee: Value, args: Arguments): Value {
    const target = defined(callee);
    if (target instanceof Callable) return target.call(args);
    if (target instanceof Loop) {
      if (target.recurse !== null) return target.recurse(args);
      throw failure("The loop must have the 'recursive' marker to be called recursively.");
    }
    throw failure(`'${typeName(target)}' object is not callable`);
  }

  filter(call: FilterCall, input: Value, scope: Scope): Value {
    return this.applyFilter(call.name, input, this.arguments(call.args, scope));
  }

  private applyFilter(name: string, input: Value, args: Arguments): Value {
    const filter = filters.get(name);
    if (filter === undefined) throw failure(`No filter named '${name}'.`);
    return filter(input, args, {
      filter: (inner, value, innerArgs) => this.applyFilter(inner, value, innerArgs),
      test: (inner, value, innerArgs) => this.test(inner, value, innerArgs),
    });
  }

  private test(name: string, input: Value, args: Arguments): boolean {
    const test = tests.get(name);
    if (test === undefined) throw failure(`No test named '${name}'.`);
    return test(input, args);
  }
}
