import { readFile } from 'node:fs/promises';
import { endianness } from 'node:os';
import { z } from 'zod';
import { CideryError } from '../../src/base/error.ts';

const headerSchema = z.looseObject({
  logits: z.looseObject({
    dtype: z.literal('F32'),
    shape: z.tuple([z.int().positive(), z.int().positive()]),
    data_offsets: z.tuple([z.int().nonnegative(), z.int().nonnegative()]),
  }),
});

/** The rows of the `logits` [rows, vocabulary] in f32 that `debug` writes as safetensors. */
export async function readLogits(path: string): Promise<Float32Array[]> {
  return logitRows(await readFile(path));
}

/** @throws CideryError `bench_logits` for a file that holds something else. */
export function logitRows(bytes: Uint8Array): Float32Array[] {
  if (endianness() !== 'LE') throw new CideryError('bench_logits', 'this machine is big-endian');
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const dataOffset = 8 + Number(view.getBigUint64(0, true));
  const header = new TextDecoder().decode(bytes.subarray(8, dataOffset));
  const { logits } = headerSchema.parse(JSON.parse(header));
  const [rows, vocabulary] = logits.shape;
  const [from, to] = logits.data_offsets;
  if (to - from !== rows * vocabulary * 4 || dataOffset + to > bytes.length) {
    throw new CideryError('bench_logits', 'the logits file is cut or has another shape');
  }
  // A copy, as the data may lie at any offset and floats want multiples of four.
  const data = new Float32Array(
    new Uint8Array(bytes.subarray(dataOffset + from, dataOffset + to)).buffer,
  );
  return Array.from({ length: rows }, (_, row) =>
    data.subarray(row * vocabulary, (row + 1) * vocabulary),
  );
}

export interface RowScore {
  /** Index of the largest logit; the first of equal ones. */
  readonly top: number;
  /** -log p(target), natural. */
  readonly loss: number;
}

/** The log of the softmax is taken against the largest logit, so that nothing overflows. */
export function scoreRow(logits: Float32Array, target: number): RowScore {
  let top = 0;
  for (let index = 1; index < logits.length; index += 1) {
    if ((logits[index] ?? 0) > (logits[top] ?? 0)) top = index;
  }
  const largest = logits[top] ?? 0;
  let sum = 0;
  for (const logit of logits) sum += Math.exp(logit - largest);
  return { top, loss: Math.log(sum) + largest - (logits[target] ?? Number.NaN) };
}
