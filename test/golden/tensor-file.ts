import { readFileSync } from 'node:fs';
import { z } from 'zod';

const entrySchema = z.object({
  dtype: z.enum(['F32', 'I32']),
  shape: z.array(z.int().nonnegative()),
  data_offsets: z.tuple([z.int().nonnegative(), z.int().nonnegative()]),
});
const headerSchema = z.record(z.string(), z.unknown());

/** A tensor of a golden or of a reply. */
export interface Tensor {
  readonly shape: readonly number[];
  readonly values: Float32Array | Int32Array;
}

/**
 * Reads a safetensors file of 32-bit numbers. The tests keep a reader of their own, so that a
 * mistake in the one that they judge cannot cancel out.
 */
export function readTensorFile(path: string): Map<string, Tensor> {
  const file = readFileSync(path);
  const start = 8 + Number(file.readBigUInt64LE(0));
  const header = headerSchema.parse(JSON.parse(file.toString('utf8', 8, start)));
  const tensors = new Map<string, Tensor>();
  for (const [name, value] of Object.entries(header)) {
    if (name === '__metadata__') continue;
    const { dtype, shape, data_offsets: offsets } = entrySchema.parse(value);
    const bytes = new Uint8Array(file.subarray(start + offsets[0], start + offsets[1])).buffer;
    const values = dtype === 'F32' ? new Float32Array(bytes) : new Int32Array(bytes);
    const count = shape.reduce((product, size) => product * size, 1);
    if (values.length !== count) throw new Error(`${path}: ${name} has ${values.length} numbers`);
    tensors.set(name, { shape, values });
  }
  return tensors;
}

/** The tensor of that name. */
export function tensorOf(tensors: ReadonlyMap<string, Tensor>, name: string): Tensor {
  const tensor = tensors.get(name);
  if (tensor === undefined) throw new Error(`no tensor ${name}`);
  return tensor;
}

/**
 * The largest difference between two tensors, in standard deviations of the first. Infinite where
 * either holds anything but finite numbers, or the shapes differ.
 */
export function worstDeviation(reference: Tensor, actual: Tensor): number {
  const [expected, got] = [reference.values, actual.values];
  if (reference.shape.join() !== actual.shape.join()) return Number.POSITIVE_INFINITY;
  let [sum, squares, worst] = [0, 0, 0];
  for (const [index, value] of expected.entries()) {
    const difference = Math.abs(value - (got[index] ?? Number.NaN));
    if (!Number.isFinite(difference)) return Number.POSITIVE_INFINITY;
    worst = Math.max(worst, difference);
    sum += value;
    squares += value * value;
  }
  const mean = sum / expected.length;
  return worst / Math.sqrt(squares / expected.length - mean * mean);
}
