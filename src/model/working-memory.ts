import { invariant } from '../base/error.ts';
import type { WeightMode } from './memory.ts';
import { sumKinds } from './operations.ts';
import type { Operation, Program } from './program.ts';

/** A step at its largest. */
export interface LargestStep {
  readonly tokens: number;
  /** Of them, those with logits. */
  readonly selected: number;
  /** Of the longest sequence. */
  readonly positions: number;
}

/** What an executor works in besides weights and caches, on the rank that runs the program. */
export function workingBytes(program: Program, mode: WeightMode, step: LargestStep): number {
  invariant(step.selected <= step.tokens, 'a step selects more rows than it has');
  return mode.executor === 'cpu'
    ? cpuWorkingBytes(program, mode.precise, step.positions)
    : mlxWorkingBytes(program, mode.precise, step);
}

/**
 * Upper bound: every buffer at once, the logits in 32 bits twice (as computed, and as sampled
 * from), and one layer's scores.
 */
function mlxWorkingBytes(program: Program, precise: boolean, step: LargestStep): number {
  const buffers = program.buffers.reduce(
    (sum, { width, domain }) => sum + width * (domain === 'tokens' ? step.tokens : step.selected),
    0,
  );
  const mostHeads = most(program, (operation) =>
    operation.kind === 'attention' ? operation.fields.heads : 0,
  );
  const scores = mostHeads * step.tokens * step.positions;
  const logits = step.selected * program.vocabulary * 4 * 2;
  return (buffers + scores) * (precise ? 4 : 2) + logits;
}

/** As native/cpu/bind.cpp has it: rows of a pass, and those of them with logits. */
const passRows = 512;
const logitRows = 32;
/** Rows of which the largest logit is found from upper bits. */
const greedyRows = 8;
/** Values that a processor takes at once: rows are as wide as a multiple of it. */
const lanes = 16;
/** Of partial results of attention, unless a context needs more. */
const usualAttentionFloats = 2 ** 20;
/** Positions of which one partial result is made. */
const spanPositions = 512;
/** Inputs of a matrix that share a scale: a byte each, and seven values in 32 bits for all. */
const activationGroup = 32;
const groupBytes = activationGroup + 7 * 4;

/** What is mapped once, for steps of any size, in 32 bits. */
function cpuWorkingBytes(program: Program, precise: boolean, positions: number): number {
  const wide = (width: number) => Math.ceil(width / lanes) * lanes;
  const sum = (widths: readonly number[]) =>
    widths.reduce((total, width) => total + wide(width), 0);
  const inputs = most(program, ({ kind, fields }) =>
    kind === 'linear' || kind === 'head' ? fields.in.width : 0,
  );
  const queries = most(program, ({ kind, fields }) => (kind === 'attention' ? fields.q.width : 0));
  const perRow =
    sum(program.buffers.map(({ width }) => width)) +
    sum(program.ropes.map(({ width }) => width)) +
    wide(queries) +
    most(program, exchangedColumns);
  const spans = Math.floor(positions / spanPositions) + 1;
  const partials = most(program, ({ kind, fields }) =>
    kind === 'attention'
      ? Math.min(fields.groupHeads, fields.heads) * spans * (lanes + wide(fields.valueWidth))
      : 0,
  );
  const logits = most(program, ({ kind, fields }) => {
    if (kind !== 'head') return 0;
    const rows = program.parameters[fields.weight]?.shape[0] ?? 0;
    return program.rank === 0 ? program.vocabulary : rows;
  });
  const floats =
    passRows * perRow + Math.max(partials, usualAttentionFloats) + logitRows * wide(logits);
  const inBits = (passRows * inputs * groupBytes) / activationGroup;
  if (precise) return 4 * floats + inBits;
  const halves = passRows * most(program, roundedColumns);
  const bounds = most(program, (operation) => boundFloats(program, operation));
  return 4 * (floats + bounds) + 2 * halves + inBits;
}

/** Columns of which ranks add parts that were rounded to 16 bits. */
function roundedColumns({ kind, fields }: Operation): number {
  return kind === 'allSum' && fields.kind === sumKinds.rounded ? fields.data.width : 0;
}

/** What native/cpu/ops/greedy_head.cpp finds the largest logits with. */
function boundFloats(program: Program, { kind, fields }: Operation): number {
  if (kind !== 'head') return 0;
  const { shape, storage } = program.parameters[fields.weight] ?? {};
  const isSplit = storage?.kind === 'block' && storage.format === 'Q8_0';
  const isPlain = fields.scale === 1 && fields.softcap === 0 && fields.bias === null;
  if (!isSplit || !isPlain) return 0;
  const panels = Math.ceil((shape?.[0] ?? 0) / lanes);
  return greedyRows * (panels + (2 * fields.in.width) / activationGroup);
}

/** Columns of the matrix that goes between ranks. */
function exchangedColumns({ kind, fields }: Operation): number {
  if (kind === 'allSum') return fields.data.width;
  if (kind === 'allGather' || kind === 'receive') return fields.out.width;
  return kind === 'send' ? fields.in.width : 0;
}

/** The largest of a value among all operations. */
function most(program: Program, value: (operation: Operation) => number): number {
  return Math.max(0, ...program.operations.map(value));
}
