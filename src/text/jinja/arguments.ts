import {
  type Arguments,
  asInteger,
  defined,
  failure,
  isTrue,
  typeName,
  type Value,
} from './values.ts';
import { MarkedText } from './marked-text.ts';

/** The arguments of one call, bound to parameter names as Python binds them. */
export class Bound {
  private readonly values = new Map<string, Value>();
  private readonly function: string;

  /** Fails on too many arguments, unknown names, or one given twice. */
  constructor(name: string, args: Arguments, parameters: readonly string[]) {
    this.function = name;
    if (args.positional.length > parameters.length) {
      throw failure(
        `${name}() takes ${parameters.length} arguments but ${args.positional.length} were given`,
      );
    }
    args.positional.forEach((value, index) => this.values.set(parameters[index] ?? '', value));
    for (const [key, value] of args.named) {
      if (!parameters.includes(key)) {
        throw failure(`${name}() got an unexpected keyword argument '${key}'`);
      }
      if (this.values.has(key)) {
        throw failure(`${name}() got multiple values for argument '${key}'`);
      }
      this.values.set(key, value);
    }
  }

  optional(name: string): Value | undefined {
    return this.values.get(name);
  }

  required(name: string): Value {
    const value = this.values.get(name);
    if (value === undefined) throw failure(`${this.function}() misses the argument '${name}'`);
    return value;
  }

  text(name: string): MarkedText {
    const value = this.required(name);
    if (value instanceof MarkedText) return value;
    throw failure(`${this.function}() needs a str, not '${typeName(defined(value))}'`);
  }

  integer(name: string, otherwise?: number): number {
    const given = this.values.get(name);
    if (given === undefined && otherwise !== undefined) return otherwise;
    const value = asInteger(this.required(name));
    if (value !== undefined) return value;
    throw failure(`${this.function}() needs an int as '${name}'`);
  }

  flag(name: string, otherwise: boolean): boolean {
    const given = this.values.get(name);
    return given === undefined ? otherwise : isTrue(given);
  }
}
