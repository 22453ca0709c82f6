import { Scope } from './scope.ts';
import type { MarkedText } from './marked-text.ts';
import type { Expression, Signature, Statement } from './syntax.ts';
import { type Arguments, Callable, Dict, failure, nameText, Tuple, Undefined } from './values.ts';
import type { Value } from './values.ts';

interface Runner {
  evaluate(expression: Expression, scope: Scope): Value;
  capture(body: readonly Statement[], scope: Scope): MarkedText;
}

/**
 * A macro as something to call. Unknown arguments go to `varargs`, `kwargs` and `caller` where the
 * body names those, and are an error where it does not.
 */
export function createMacro(
  node: { name: string; signature: Signature; body: Statement[] },
  scope: Scope,
  runner: Runner,
): Callable {
  const names = mentionedNames([node.body, node.signature.defaults]);
  return new Callable(node.name, (args) => {
    const inner = new Scope(scope);
    bind(node.name, node.signature, names, args, inner, runner);
    return runner.capture(node.body, inner);
  });
}

function bind(
  macro: string,
  { parameters, defaults }: Signature,
  names: ReadonlySet<string>,
  args: Arguments,
  scope: Scope,
  runner: Runner,
): void {
  const extra = args.positional.slice(parameters.length);
  const named = new Map(args.named);
  const missing: [string, Expression | undefined][] = [];
  parameters.forEach((parameter, at) => {
    const given = args.positional[at];
    const byName = named.get(parameter);
    if (given !== undefined && byName !== undefined) {
      throw failure(`macro '${macro}' got the argument '${parameter}' twice`);
    }
    named.delete(parameter);
    const value = given === undefined ? byName : given;
    if (value === undefined) {
      missing.push([parameter, defaults[at - parameters.length + defaults.length]]);
    }
    const absent = new Undefined(`parameter '${parameter}' was not provided`);
    scope.set(parameter, value === undefined ? absent : value);
  });
  if (names.has('caller') && !parameters.includes('caller')) {
    scope.set('caller', named.get('caller') ?? new Undefined('No caller defined'));
    named.delete('caller');
  }
  if (names.has('kwargs')) {
    scope.set('kwargs', Dict.of(Array.from(named, ([key, value]) => [nameText(key), value])));
  } else {
    const [unknown] = named.keys();
    if (unknown !== undefined) {
      throw failure(`macro '${macro}' takes no keyword argument '${unknown}'`);
    }
  }
  if (names.has('varargs')) scope.set('varargs', new Tuple(extra));
  else if (extra.length > 0) {
    throw failure(`macro '${macro}' takes not more than ${parameters.length} argument(s)`);
  }
  for (const [parameter, otherwise] of missing) {
    if (otherwise !== undefined) scope.set(parameter, runner.evaluate(otherwise, scope));
  }
}

/** Every name that a part of the syntax tree reads. */
function mentionedNames(tree: unknown): Set<string> {
  const names = new Set<string>();
  const visit = (node: unknown): void => {
    if (Array.isArray(node)) node.forEach(visit);
    else if (typeof node === 'object' && node !== null) {
      if ('kind' in node && node.kind === 'name' && 'name' in node) names.add(String(node.name));
      else Object.values(node).forEach(visit);
    }
  };
  visit(tree);
  return names;
}
