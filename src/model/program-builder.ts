import { invariant } from '../base/error.ts';
import { normKinds } from './operations.ts';
import type {
  Columns,
  Operation,
  Program,
  ProgramBuffer,
  ProgramCache,
  ProgramParameter,
  ProgramRope,
} from './program.ts';
import type { NormSpec } from './spec.ts';

/** Collects the parts of a program; each is named by its index. */
export class ProgramBuilder {
  readonly #parameters: readonly ProgramParameter[];
  readonly #indices: ReadonlyMap<string, number>;
  readonly #buffers: ProgramBuffer[] = [];
  readonly #ropes: ProgramRope[] = [];
  readonly #caches: ProgramCache[] = [];
  readonly #layouts: (readonly number[])[] = [];
  readonly #operations: Operation[] = [];

  constructor(parameters: readonly ProgramParameter[]) {
    this.#parameters = parameters;
    this.#indices = new Map(parameters.map(({ path }, index) => [path, index]));
  }

  buffer(name: string, width: number, domain: ProgramBuffer['domain'] = 'tokens'): Columns {
    return { buffer: this.#buffers.push({ name, width, domain }) - 1, column: 0, width };
  }

  parameter(path: string): number {
    const index = this.#indices.get(path);
    invariant(index !== undefined, `${path} is used and not declared`);
    return index;
  }

  cache(cache: ProgramCache): number {
    return this.#caches.push(cache) - 1;
  }

  rope(rope: ProgramRope | null): number | null {
    if (rope === null) return null;
    const known = this.#ropes.indexOf(rope);
    return known >= 0 ? known : this.#ropes.push(rope) - 1;
  }

  emit(operation: Operation): void {
    this.#operations.push(operation);
  }

  /** Puts out `out`, as do all functions that take one. */
  norm(module: string, norm: NormSpec, input: Columns, out: Columns): Columns {
    this.emit({
      kind: 'norm',
      fields: {
        out,
        in: input,
        weight: this.parameter(`${module}.weight`),
        bias: norm.bias ? this.parameter(`${module}.bias`) : null,
        epsilon: norm.epsilon,
        weightOffset: norm.weightOffset,
        kind: normKinds[norm.kind],
      },
    });
    return out;
  }

  linear(module: string, input: Columns, out: Columns): Columns {
    const weight = this.parameter(`${module}.weight`);
    const bias = this.#indices.get(`${module}.bias`) ?? null;
    this.emit({ kind: 'linear', fields: { out, in: input, weight, bias } });
    return out;
  }

  /** stream += scale * update */
  add(stream: Columns, update: Columns, scaleB: number): void {
    this.emit({ kind: 'add', fields: { out: stream, a: stream, b: update, scaleB } });
  }

  allGather(out: Columns, input: Columns, widths: readonly number[]): Columns {
    const layout = this.#layout(widths);
    this.emit({ kind: 'allGather', fields: { out, in: input, layout } });
    return out;
  }

  send(input: Columns, to: number): void {
    this.emit({ kind: 'send', fields: { in: input, to } });
  }

  receive(out: Columns, from: number): void {
    this.emit({ kind: 'receive', fields: { out, from } });
  }

  program(facts: Pick<Program, 'vocabulary' | 'contextLength' | 'rank' | 'ranks'>): Program {
    return {
      ...facts,
      buffers: this.#buffers,
      parameters: this.#parameters,
      ropes: this.#ropes,
      caches: this.#caches,
      layouts: this.#layouts,
      operations: this.#operations,
    };
  }

  #layout(widths: readonly number[]): number {
    const same = (other: readonly number[]) => other.every((width, i) => width === widths[i]);
    const known = this.#layouts.findIndex(same);
    return known >= 0 ? known : this.#layouts.push(widths) - 1;
  }
}

/** `width` columns of a buffer from `first` on. */
export function columns(whole: Columns, first: number, width: number): Columns {
  return { buffer: whole.buffer, column: first, width };
}
