import { CideryError } from '../../base/error.ts';
import type { Value } from './values.ts';

/** The syntax tree of a template: Jinja's own node types, named in full. */
export type Expression =
  | { kind: 'constant'; value: Value }
  | { kind: 'name'; name: string }
  | { kind: 'list'; items: Expression[] }
  | { kind: 'tuple'; items: Expression[] }
  | { kind: 'dict'; entries: [Expression, Expression][] }
  | { kind: 'attribute'; object: Expression; name: string }
  | { kind: 'item'; object: Expression; index: Expression }
  | Slice
  | Call
  | { kind: 'filter'; input: Expression; filter: FilterCall }
  | { kind: 'test'; input: Expression; name: string; args: CallArguments }
  | { kind: 'unary'; operator: '-' | '+' | 'not'; operand: Expression }
  | { kind: 'binary'; operator: BinaryOperator; left: Expression; right: Expression }
  | { kind: 'logical'; operator: 'and' | 'or'; left: Expression; right: Expression }
  | { kind: 'compare'; first: Expression; rest: [CompareOperator, Expression][] }
  | { kind: 'concat'; parts: Expression[] }
  | { kind: 'conditional'; test: Expression; value: Expression; otherwise: Expression | null };

export type BinaryOperator = '+' | '-' | '*' | '/' | '//' | '%' | '**';
export type CompareOperator = '==' | '!=' | '<' | '<=' | '>' | '>=' | 'in' | 'not in';

export interface Slice {
  kind: 'slice';
  start: Expression | null;
  stop: Expression | null;
  step: Expression | null;
}

interface Call {
  kind: 'call';
  callee: Expression;
  args: CallArguments;
}

export interface CallArguments {
  positional: Expression[];
  named: [string, Expression][];
  spread: Expression | null;
  namedSpread: Expression | null;
}

export interface FilterCall {
  name: string;
  args: CallArguments;
}

/** What an assignment may name. */
export type Target =
  | { kind: 'name'; name: string }
  | { kind: 'member'; object: string; name: string }
  | { kind: 'targets'; items: Target[] };

export interface Signature {
  parameters: string[];
  /** Of the last parameters, in order. */
  defaults: Expression[];
}

export type Statement =
  | { kind: 'data'; text: string }
  | { kind: 'print'; value: Expression }
  | { kind: 'if'; branches: { test: Expression; body: Statement[] }[]; otherwise: Statement[] }
  | ForStatement
  | { kind: 'set'; target: Target; value: Expression }
  | { kind: 'setBlock'; target: Target; filters: FilterCall[]; body: Statement[] }
  | { kind: 'macro'; name: string; signature: Signature; body: Statement[] }
  | { kind: 'callBlock'; call: Call; signature: Signature; body: Statement[] }
  | { kind: 'filterBlock'; filters: FilterCall[]; body: Statement[] }
  | { kind: 'with'; bindings: [Target, Expression][]; body: Statement[] }
  | { kind: 'scope'; body: Statement[] }
  | { kind: 'break' }
  | { kind: 'continue' };

export interface ForStatement {
  kind: 'for';
  target: Target;
  iterable: Expression;
  test: Expression | null;
  recursive: boolean;
  body: Statement[];
  otherwise: Statement[];
}

export function syntaxError(message: string, line: number): CideryError {
  return new CideryError('template_invalid', `the chat template is no valid Jinja: ${message}`, {
    hint: `see line ${line} of the template`,
  });
}
