import type { ParameterSource, TensorPart } from '../../src/engine/addon.ts';
import type { Config } from '../../src/model/config.ts';
import type { TensorEntry, TensorFormat } from '../../src/model/manifest.ts';
import type { ParameterStorage } from '../../src/model/program.ts';
import { groupOf } from '../../src/model/quantization.ts';
import { tensorsFor } from '../../src/model/testing.ts';
import type { Rows } from './program-arithmetic.ts';
import { randomBytes } from './random-bytes.ts';
import { seededNumbers } from './seeded-numbers.ts';

/** Bytes of one element, or of a block of 32 or 256. */
const formatBytes: Partial<Record<TensorFormat, number>> = {
  F32: 4,
  U32: 4,
  U8: 1,
  Q4_0: 18,
  Q4_1: 20,
  Q5_0: 22,
  Q5_1: 24,
  Q8_0: 34,
  Q2_K: 84,
  Q3_K: 110,
  Q4_K: 144,
  Q5_K: 176,
  Q6_K: 210,
  IQ4_NL: 18,
  MXFP4: 17,
};

/** A file with all tensors of a model, floats in F32, and gaps between the tensors. */
export interface WeightFile {
  readonly bytes: Uint8Array;
  readonly tensors: readonly TensorEntry[];
}

/**
 * Random weights: small floats, any words and blocks.
 * @param permuted q and k of so many heads and key heads lie in llama.cpp's order.
 */
export function weightFile(
  config: Config,
  storageOf: (path: string) => ParameterStorage,
  permuted: { readonly heads: number; readonly keyHeads: number } | null = null,
): WeightFile {
  let end = 0;
  const tensors = tensorsFor(config, storageOf).map((entry): TensorEntry => {
    const isFloat = entry.format === 'BF16' || entry.format === 'F16';
    const format = isFloat ? 'F32' : entry.format;
    const byteLength = shapeBytes(format, entry.shape);
    const offset = end + 5;
    end = offset + byteLength;
    return { ...entry, format, offset, byteLength, transforms: transformsOf(entry.name, permuted) };
  });
  const bytes = randomBytes(end, 1);
  const view = new DataView(bytes.buffer);
  const number = seededNumbers(2);
  for (const { format, offset, byteLength } of tensors) {
    for (let at = offset; at < offset + byteLength; at += formatBytes[format] ?? 1) {
      if (format === 'F32') view.setFloat32(at, (number(2001) - 1000) / 4000, true);
      // Exponents of mxfp4: from 1/16 to 1.
      if (format === 'U8') view.setUint8(at, 123 + number(5));
    }
  }
  return { bytes, tensors };
}

function transformsOf(
  name: string,
  permuted: { readonly heads: number; readonly keyHeads: number } | null,
): TensorEntry['transforms'] {
  if (permuted === null) return [];
  if (name.includes('.q_proj.')) return [{ kind: 'unpermuteRope', heads: permuted.heads }];
  if (name.includes('.k_proj.')) return [{ kind: 'unpermuteRope', heads: permuted.keyHeads }];
  return [];
}

function shapeBytes(format: TensorFormat, shape: readonly number[]): number {
  const elements = shape.reduce((product, size) => product * size, 1);
  const values = groupOf({ kind: 'block', format });
  const plain = format === 'F32' || format === 'U32' || format === 'U8';
  return (elements / (plain ? 1 : values)) * (formatBytes[format] ?? Number.NaN);
}

/** Reads a part as native/load/file_set.cpp does. */
function readPart(file: Uint8Array, part: TensorPart): Uint8Array {
  const rows = part.pieces.flatMap(({ offset, rowBytes, rowStride, rowCount }) =>
    Array.from({ length: rowCount }, (_, row) => {
      const first = offset + row * rowStride;
      if (first + rowBytes > file.length) throw new Error('a piece lies beyond the file');
      return file.subarray(first, first + rowBytes);
    }),
  );
  const bytes = Buffer.concat(rows);
  const expected = shapeBytes(part.format, part.shape);
  if (bytes.length !== expected) throw new Error(`${bytes.length} bytes, not ${expected}`);
  return part.unpermuteHeads > 0 ? unpermuted(bytes, part) : bytes;
}

/** llama.cpp's row (h, j, i) of [heads, width / 2, 2] is row (h, i, j) of [heads, 2, width / 2]. */
function unpermuted(bytes: Uint8Array, { shape, unpermuteHeads }: TensorPart): Uint8Array {
  const rows = shape[0] ?? 0;
  const rowBytes = bytes.length / rows;
  const width = rows / unpermuteHeads;
  if (width % 2 !== 0) throw new Error(`${rows} rows are no ${unpermuteHeads} heads`);
  const out = new Uint8Array(bytes.length);
  for (let row = 0; row < rows; row += 1) {
    const [head, within] = [Math.floor(row / width), row % width];
    const target = head * width + (within % 2) * (width / 2) + Math.floor(within / 2);
    out.set(bytes.subarray(row * rowBytes, (row + 1) * rowBytes), target * rowBytes);
  }
  return out;
}

/**
 * What a parameter holds in each row, by groups of its storage: the bytes of every group's words,
 * scale and bias, or of its block, in hexadecimal.
 */
export function parameterGroups(file: Uint8Array, { parts }: ParameterSource): string[][] {
  const read = parts.map((part) => readPart(file, part));
  const [first] = parts;
  const shape = first?.shape ?? [];
  const groups = groupsInRow(parts);
  return Array.from({ length: shape[0] ?? 1 }, (_, row) =>
    Array.from({ length: groups }, (__, group) =>
      read
        .map((bytes) => {
          const size = bytes.length / (shape[0] ?? 1) / groups;
          const at = (row * groups + group) * size;
          return Buffer.from(bytes.subarray(at, at + size)).toString('hex');
        })
        .join('/'),
    ),
  );
}

function groupsInRow(parts: readonly TensorPart[]): number {
  const [weight, scales] = parts;
  if (weight === undefined || weight.shape.length < 2) return 1;
  if (scales !== undefined) return scales.shape[1] ?? 1;
  const columns = weight.shape[1] ?? 1;
  return weight.format === 'F32'
    ? columns
    : columns / groupOf({ kind: 'block', format: weight.format });
}

/** Values of a parameter that is dense, affine or mxfp4; a vector is one row. */
export function parameterRows(
  file: Uint8Array,
  { parts }: ParameterSource,
  storage: ParameterStorage,
): Rows {
  const [weight, scales, biases] = parts.map((part) => ({
    bytes: readPart(file, part),
    shape: part.shape,
  }));
  if (weight === undefined) throw new Error('a parameter without a tensor');
  const rows = weight.shape.length > 1 ? (weight.shape[0] ?? 0) : 1;
  if (storage.kind === 'dense') return divided(floats(weight.bytes), rows);
  if (scales === undefined) throw new Error('a quantized parameter without scales');
  const bits = storage.kind === 'affine' ? storage.bits : 4;
  const codes = divided(bitFields(weight.bytes, bits), rows);
  const factors = divided(
    storage.kind === 'affine' ? floats(scales.bytes) : [...scales.bytes].map((e) => 2 ** (e - 127)),
    rows,
  );
  const offsets = biases === undefined ? null : divided(floats(biases.bytes), rows);
  const group = groupOf(storage);
  return codes.map((row, r) =>
    row.map((code, i) => {
      const at = Math.floor(i / group);
      const value = storage.kind === 'affine' ? code : (mxfp4Values[code] ?? Number.NaN);
      return value * (factors[r]?.[at] ?? Number.NaN) + (offsets?.[r]?.[at] ?? 0);
    }),
  );
}

const halfMxfp4 = [0, 0.5, 1, 1.5, 2, 3, 4, 6];
const mxfp4Values = [...halfMxfp4, ...halfMxfp4.map((value) => -value)];

function floats(bytes: Uint8Array): number[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Array.from({ length: bytes.length / 4 }, (_, i) => view.getFloat32(4 * i, true));
}

/** Numbers of so many bits from the lowest bit of the first byte on, as MLX packs them. */
function bitFields(bytes: Uint8Array, bits: number): number[] {
  const bit = (at: number) => ((bytes[at >> 3] ?? 0) >> (at & 7)) & 1;
  return Array.from({ length: (bytes.length * 8) / bits }, (_, i) =>
    Array.from({ length: bits }, (__, k) => bit(i * bits + k) << k).reduce((a, b) => a | b, 0),
  );
}

function divided(values: readonly number[], rows: number): number[][] {
  const width = values.length / rows;
  return Array.from({ length: rows }, (_, row) => values.slice(row * width, (row + 1) * width));
}
