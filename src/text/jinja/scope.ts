import type { Value } from './values.ts';

/** The names that a block sees: its own, then those around it. */
export class Scope {
  private readonly names = new Map<string, Value>();
  private readonly parent: Scope | null;

  constructor(parent: Scope | null, names: Iterable<readonly [string, Value]> = []) {
    this.parent = parent;
    for (const [name, value] of names) this.names.set(name, value);
  }

  get(name: string): Value | undefined {
    const own = this.names.get(name);
    return own === undefined && this.parent !== null ? this.parent.get(name) : own;
  }

  /** Sets a name in this scope; what an outer one holds under it stays. */
  set(name: string, value: Value): void {
    this.names.set(name, value);
  }
}
