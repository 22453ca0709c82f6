import { describe, expect, it } from 'vitest';
import { type Llama3Scaling, llama3Factor, llama3ScalingOf } from './rope-factors.ts';

/** The table that llama.cpp's converter writes, in f32. */
function tableOf(of: Llama3Scaling, width: number, theta: number): Float32Array {
  return Float32Array.from({ length: width / 2 }, (_, pair) =>
    llama3Factor(of, 2 * Math.PI * theta ** ((2 * pair) / width)),
  );
}

function scaling(factor: number, low: number, high: number, original = 8192): Llama3Scaling {
  return {
    rope_type: 'llama3',
    factor,
    low_freq_factor: low,
    high_freq_factor: high,
    original_max_position_embeddings: original,
  };
}

describe('the parameters come back from the table', () => {
  it.each([
    ['Llama 3.1', scaling(8, 1, 4), 128],
    ['Llama 3.2', scaling(32, 1, 4), 64],
    ['others', scaling(16, 2, 9), 128],
  ])('%s', (_name, expected, width) => {
    expect(llama3ScalingOf(tableOf(expected, width, 500_000), width, 500_000)).toEqual(expected);
  });

  it('or parameters that give the same table, when another length was published', () => {
    const table = tableOf(scaling(8, 1, 4, 4096), 128, 10_000);
    const found = llama3ScalingOf(table, 128, 10_000);
    expect(found).toEqual(scaling(8, 2, 8));
  });
});

describe('what no llama3 scaling makes is null', () => {
  it.each([
    ['another length', Float32Array.from([1, 8])],
    ['a falling table', Float32Array.from({ length: 64 }, (_, pair) => 64 - pair)],
    ['a constant', new Float32Array(64).fill(4)],
    ['zeros', new Float32Array(64)],
    ['no numbers', new Float32Array(64).fill(Number.NaN)],
    ['infinities', new Float32Array(64).fill(Number.POSITIVE_INFINITY)],
  ])('%s', (_what, table) => {
    expect(llama3ScalingOf(table, 128, 500_000)).toBeNull();
  });
});
