import { encodeProgram } from '../model/program-encoding.ts';
import type { Program } from '../model/program.ts';
import type { EngineOptions, TensorPart } from './addon.ts';

/** A model for tests of the addon that is small enough to know every value of. */
export const vocabulary = 5;
export const width = 3;
export const table = Float32Array.from(
  { length: vocabulary * width },
  (_, i) => ((i * 7) % 11) - 5,
);
export const weight = Float32Array.from(
  { length: vocabulary * width },
  (_, i) => ((i * 5) % 13) - 6,
);

/** The model's only file: the table, then the head's weight. */
export function modelBytes(): Uint8Array {
  return Buffer.concat([Buffer.from(table.buffer), Buffer.from(weight.buffer)]);
}

/** logits = table[token] * weight^T: no attention, so that every value is known. */
export const program: Program = {
  vocabulary,
  contextLength: 64,
  rank: 0,
  ranks: 1,
  buffers: [
    { name: 'hidden', width, domain: 'tokens' },
    { name: 'last', width, domain: 'selected' },
  ],
  parameters: [
    { path: 'embed.weight', shape: [vocabulary, width], storage: { kind: 'dense' } },
    { path: 'head.weight', shape: [vocabulary, width], storage: { kind: 'dense' } },
  ],
  ropes: [],
  caches: [],
  layouts: [],
  operations: [
    {
      kind: 'embed',
      fields: { out: { buffer: 0, column: 0, width }, table: 0, scale: 1, first: 0 },
    },
    {
      kind: 'select',
      fields: { out: { buffer: 1, column: 0, width }, in: { buffer: 0, column: 0, width } },
    },
    {
      kind: 'head',
      fields: {
        in: { buffer: 1, column: 0, width },
        weight: 1,
        bias: null,
        scale: 1,
        softcap: 0,
        first: 0,
      },
    },
  ],
};

/** Options that open it, with `changes`. */
export function tinyOptions(
  modelPath: string,
  changes: Partial<EngineOptions> = {},
): EngineOptions {
  return {
    program: encodeProgram(program),
    executor: 'mlx',
    gpu: false,
    precise: true,
    slots: 4,
    positions: 16,
    cachePositions: 0,
    threads: 0,
    files: [modelPath],
    ...changes,
  };
}

/** A parameter at a byte offset of the file. */
export function dense(offset: number): TensorPart {
  const sizeBytes = vocabulary * width * 4;
  return {
    role: 'weight',
    format: 'F32',
    shape: [vocabulary, width],
    unpermuteHeads: 0,
    add: 0,
    pieces: [{ file: 0, offset, rowBytes: sizeBytes, rowStride: sizeBytes, rowCount: 1 }],
  };
}

/** Where both parameters lie in the file. */
export const sources = [
  { parameter: 0, parts: [dense(0)] },
  { parameter: 1, parts: [dense(vocabulary * width * 4)] },
];
