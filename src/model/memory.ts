import type { TensorFormat } from './manifest.ts';
import type { ParameterStorage, Program } from './program.ts';

/**
 * What decides how weights and caches are held. `precise`: activations, scales and caches in 32
 * bits, else in 16, and the caches of `cpu` in 8.
 */
export interface WeightMode {
  readonly executor: 'cpu' | 'mlx';
  readonly precise: boolean;
}

function elementBytes(precise: boolean): number {
  return precise ? 4 : 2;
}

/** Bytes of one value in a GGUF file, with its share of the block's scales. */
const blockBytes: Partial<Record<TensorFormat, number>> = {
  Q4_0: 18 / 32,
  Q4_1: 20 / 32,
  Q5_0: 22 / 32,
  Q5_1: 24 / 32,
  Q8_0: 34 / 32,
  Q2_K: 84 / 256,
  Q3_K: 110 / 256,
  Q4_K: 144 / 256,
  Q5_K: 176 / 256,
  Q6_K: 210 / 256,
  IQ4_NL: 18 / 32,
  MXFP4: 17 / 32,
};

/**
 * Bits of the affine words in which the `mlx` executor keeps a GGUF format (groups of 32 columns
 * with a 32-bit scale and bias); formats that are not here are dequantized, MXFP4 apart.
 */
const affineBits: Partial<Record<TensorFormat, number>> = {
  Q4_0: 4,
  Q4_1: 4,
  Q5_0: 5,
  Q5_1: 5,
  Q8_0: 8,
  Q4_K: 4,
  Q5_K: 5,
};

/** Bytes of all weights as an executor holds them. */
export function weightBytes(program: Program, mode: WeightMode): number {
  return program.parameters.reduce((sum, { shape, storage }) => {
    const elements = shape.reduce((product, size) => product * size, 1);
    return sum + Math.ceil(elements * bytesPerElement(storage, mode));
  }, 0);
}

function bytesPerElement(storage: ParameterStorage, { executor, precise }: WeightMode): number {
  const dense = elementBytes(precise);
  if (storage.kind === 'dense') return dense;
  if (storage.kind === 'affine') return storage.bits / 8 + (2 * dense) / storage.group;
  if (storage.kind === 'mxfp4' || storage.format === 'MXFP4') return 1 / 2 + 1 / 32;
  if (executor === 'cpu') return blockBytes[storage.format] ?? dense;
  const bits = affineBits[storage.format];
  return bits === undefined ? dense : bits / 8 + (2 * 4) / 32;
}

/** Positions by which an executor grows a slot: blocks of 16, and MLX arrays of 256. */
export const slotGrowthPositions = { cpu: 16, mlx: 256 } as const;

/** Channels of a key that share a scale in `cpu`'s caches of bytes (native/cpu/kernels.h). */
const keyGroup = 32;
/** Of a scale and a lowest value in bf16. */
const factorBytes = 4;

/** Bytes that one position of one sequence takes in all caches. */
export function cacheBytesPerPosition(program: Program, { executor, precise }: WeightMode): number {
  return program.caches.reduce((sum, { keyHeads, headWidth, valueWidth }) => {
    if (precise || executor === 'mlx') {
      return sum + keyHeads * (headWidth + valueWidth) * elementBytes(precise);
    }
    const keys = 4 * Math.ceil(headWidth / 4) + factorBytes * Math.ceil(headWidth / keyGroup);
    const values = 16 * Math.ceil(valueWidth / 16) + factorBytes;
    return sum + keyHeads * (keys + values);
  }, 0);
}
