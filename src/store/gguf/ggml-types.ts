import type { TensorFormat } from '../../model/manifest.ts';

/**
 * How ggml stores a tensor type: `blockSize` elements of a row lie together in `blockBytes`
 * bytes.
 */
export interface GgmlType {
  readonly name: string;
  readonly blockSize: number;
  readonly blockBytes: number;
  /** Our name for the layout; null for types that cannot be run. */
  readonly format: TensorFormat | null;
}

function plain(name: string, blockBytes: number, format: TensorFormat | null = null): GgmlType {
  return { name, blockSize: 1, blockBytes, format };
}

function block(
  name: string,
  blockSize: number,
  blockBytes: number,
  format: TensorFormat | null = null,
): GgmlType {
  return { name, blockSize, blockBytes, format };
}

/**
 * Tensor types by their id in a file (enum ggml_type of ggml.h; ids that are missing were
 * withdrawn).
 */
export const ggmlTypes: ReadonlyMap<number, GgmlType> = new Map([
  [0, plain('F32', 4, 'F32')],
  [1, plain('F16', 2, 'F16')],
  [2, block('Q4_0', 32, 18, 'Q4_0')],
  [3, block('Q4_1', 32, 20, 'Q4_1')],
  [6, block('Q5_0', 32, 22, 'Q5_0')],
  [7, block('Q5_1', 32, 24, 'Q5_1')],
  [8, block('Q8_0', 32, 34, 'Q8_0')],
  [9, block('Q8_1', 32, 36)],
  [10, block('Q2_K', 256, 84, 'Q2_K')],
  [11, block('Q3_K', 256, 110, 'Q3_K')],
  [12, block('Q4_K', 256, 144, 'Q4_K')],
  [13, block('Q5_K', 256, 176, 'Q5_K')],
  [14, block('Q6_K', 256, 210, 'Q6_K')],
  [15, block('Q8_K', 256, 292)],
  [16, block('IQ2_XXS', 256, 66)],
  [17, block('IQ2_XS', 256, 74)],
  [18, block('IQ3_XXS', 256, 98)],
  [19, block('IQ1_S', 256, 50)],
  [20, block('IQ4_NL', 32, 18, 'IQ4_NL')],
  [21, block('IQ3_S', 256, 110)],
  [22, block('IQ2_S', 256, 82)],
  [23, block('IQ4_XS', 256, 136)],
  [24, plain('I8', 1)],
  [25, plain('I16', 2)],
  [26, plain('I32', 4)],
  [27, plain('I64', 8)],
  [28, plain('F64', 8)],
  [29, block('IQ1_M', 256, 56)],
  [30, plain('BF16', 2, 'BF16')],
  [34, block('TQ1_0', 256, 54)],
  [35, block('TQ2_0', 256, 66)],
  [39, block('MXFP4', 32, 17, 'MXFP4')],
  [40, block('NVFP4', 64, 36)],
  [41, block('Q1_0', 128, 18)],
]);
