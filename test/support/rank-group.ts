import { invariant } from '../../src/base/error.ts';
import type { Columns, Operation, Program } from '../../src/model/program.ts';
import { activate, add, attention, linear, norm, type Rows } from './program-arithmetic.ts';

/**
 * Runs the programs of all ranks of a model side by side, over one sequence from its start: what
 * tests compare with the program of one rank.
 */

/** What one rank runs. */
export interface RankWork {
  readonly program: Program;
  /** Values of the program's parameters; a vector is one row. */
  readonly parameters: readonly Rows[];
}

/** What a rank asks of the others, and waits for. */
type Ask =
  | { readonly kind: 'allSum'; readonly data: Rows }
  | { readonly kind: 'allGather'; readonly data: Rows; readonly widths: readonly number[] }
  | { readonly kind: 'send'; readonly to: number; readonly data: Rows }
  | { readonly kind: 'receive'; readonly from: number };

/** Ends with the logits of this rank's part of the vocabulary; null: it has no head. */
type Running = Generator<Ask, Rows | null, Rows>;

/** Logits of the last `wanted` tokens, over the whole vocabulary. */
export function groupLogits(
  ranks: readonly RankWork[],
  tokens: readonly number[],
  wanted: number,
): Rows {
  const running = ranks.map((work) => runRank(work, tokens, wanted));
  const asked = running.map((rank) => rank.next());
  const mail = new Map<string, Rows[]>();
  const give = (rank: number, answer: Rows) => {
    const next = running[rank]?.next(answer);
    invariant(next !== undefined, `there is no rank ${rank}`);
    asked[rank] = next;
  };
  const move = (rank: number): boolean => {
    const ask = asked[rank];
    if (ask === undefined || ask.done === true) return false;
    const { value } = ask;
    if (value.kind === 'send') {
      const box = `${rank} to ${value.to}`;
      mail.set(box, [...(mail.get(box) ?? []), value.data]);
      give(rank, []);
      return true;
    }
    if (value.kind !== 'receive') return false;
    const letter = mail.get(`${value.from} to ${rank}`)?.shift();
    if (letter !== undefined) give(rank, letter);
    return letter !== undefined;
  };
  while (asked.some(({ done }) => done !== true)) {
    if (ranks.map((_, rank) => move(rank)).includes(true)) continue;
    const answer = together(asked.map((ask) => (ask.done === true ? null : ask.value)));
    for (const rank of ranks.keys()) give(rank, answer);
  }
  invariant([...mail.values()].flat().length === 0, 'a message was not received');
  return sideBySide(asked.flatMap((ask) => (ask.done === true && ask.value ? [ask.value] : [])));
}

/** The answer to what all ranks ask at once, which has to be the same. */
function together(asks: readonly (Ask | null)[]): Rows {
  const [first] = asks;
  const alike = asks.map((ask, rank) => {
    const both = ask !== null && (ask.kind === 'allSum' || ask.kind === 'allGather');
    invariant(both && ask.kind === first?.kind, 'the ranks do not ask for the same');
    if (ask.kind === 'allGather' && first.kind === 'allGather') {
      const width = ask.data[0]?.length;
      invariant(ask.widths.join() === first.widths.join(), 'the ranks have other layouts');
      invariant(ask.widths[rank] === width, `rank ${rank} has a part of another width`);
    }
    return ask.data;
  });
  if (first?.kind === 'allGather') return sideBySide(alike);
  const [start = [], ...rest] = alike;
  const same = rest.every((data) => data[0]?.length === start[0]?.length);
  invariant(same, 'the ranks add what differs in width');
  return rest.reduce((total, data) => add(total, data, 1), start);
}

function sideBySide(parts: readonly Rows[]): Rows {
  return (parts[0] ?? []).map((_, row) => parts.flatMap((part) => part[row] ?? []));
}

function* runRank(work: RankWork, tokens: readonly number[], wanted: number): Running {
  const buffers = new Buffers(work.program, tokens.length, wanted);
  const read = (columns: Columns) => buffers.read(columns);
  let logits: Rows | null = null;
  for (const operation of work.program.operations) {
    const { kind, fields } = operation;
    switch (kind) {
      case 'send':
        yield { kind, to: fields.to, data: read(fields.in) };
        break;
      case 'receive':
        buffers.write(fields.out, yield { kind, from: fields.from });
        break;
      case 'allSum':
        buffers.write(fields.data, yield { kind, data: read(fields.data) });
        break;
      case 'allGather': {
        const widths = work.program.layouts[fields.layout] ?? [];
        buffers.write(fields.out, yield { kind, data: read(fields.in), widths });
        break;
      }
      case 'select':
        buffers.write(fields.out, read(fields.in).slice(-wanted));
        break;
      case 'head':
        logits = headLogits(fields, work, read(fields.in));
        break;
      case 'embed':
        buffers.write(fields.out, embedded(fields, work, tokens));
        break;
      case 'norm':
      case 'linear':
      case 'attention':
      case 'activate':
      case 'add':
        buffers.write(fields.out, computed(operation, work, read));
    }
  }
  return logits;
}

/** What was never written is not a number, and is seen in every value that comes of it. */
class Buffers {
  readonly #buffers: readonly number[][][];

  constructor(program: Program, tokens: number, selected: number) {
    this.#buffers = program.buffers.map(({ width, domain }) =>
      Array.from({ length: domain === 'tokens' ? tokens : selected }, () =>
        Array.from({ length: width }, () => Number.NaN),
      ),
    );
  }

  read({ buffer, column, width }: Columns): Rows {
    return (this.#buffers[buffer] ?? []).map((row) => row.slice(column, column + width));
  }

  write({ buffer, column, width }: Columns, values: Rows): void {
    const target = this.#buffers[buffer] ?? [];
    invariant(target.length === values.length, 'a buffer has other rows than what it takes');
    for (const [r, row] of target.entries()) {
      invariant(values[r]?.length === width, 'what is written has another width');
      row.splice(column, width, ...(values[r] ?? []));
    }
  }
}

type Fields<Kind extends Operation['kind']> = Extract<Operation, { kind: Kind }>['fields'];
type Computed = Extract<Operation, { kind: 'norm' | 'linear' | 'attention' | 'activate' | 'add' }>;

function embedded(
  { table, scale, first }: Fields<'embed'>,
  work: RankWork,
  tokens: readonly number[],
) {
  const rows = work.parameters[table] ?? [];
  const none = (rows[0] ?? []).map(() => 0);
  return tokens.map((token) => (rows[token - first] ?? none).map((value) => value * scale));
}

function headLogits({ weight, scale, softcap }: Fields<'head'>, work: RankWork, input: Rows): Rows {
  return linear(input, work.parameters[weight] ?? [], null).map((row) =>
    row.map((value) =>
      softcap > 0 ? softcap * Math.tanh((value * scale) / softcap) : value * scale,
    ),
  );
}

function computed(
  operation: Computed,
  { program, parameters }: RankWork,
  read: (columns: Columns) => Rows,
): Rows {
  const vector = (index: number | null) => (index === null ? null : (parameters[index]?.[0] ?? []));
  const { kind, fields } = operation;
  switch (kind) {
    case 'norm': {
      const [weight, bias] = [vector(fields.weight), vector(fields.bias)];
      return norm(read(fields.in), { ...fields, weight, bias });
    }
    case 'linear':
      return linear(read(fields.in), parameters[fields.weight] ?? [], vector(fields.bias));
    case 'attention': {
      const rope = fields.rope === null ? null : (program.ropes[fields.rope] ?? null);
      const [qNorm, kNorm] = [vector(fields.qNorm), vector(fields.kNorm)];
      const [q, k, v] = [read(fields.q), read(fields.k), read(fields.v)];
      return attention(q, k, v, { ...fields, rope, qNorm, kNorm });
    }
    case 'activate': {
      const up = fields.up === null ? null : read(fields.up);
      return activate(read(fields.gate), up, fields.kind);
    }
    case 'add':
      return add(read(fields.a), read(fields.b), fields.scaleB);
  }
}
