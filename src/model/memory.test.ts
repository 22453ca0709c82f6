import { describe, expect, it } from 'vitest';
import { cacheBytesPerPosition, weightBytes } from './memory.ts';
import { buildModel } from './model.ts';
import { smallConfigs, smolLm2Config as config, tensorsFor } from './testing.ts';

const parameterCount = 134_515_008;

describe('memory of a model', () => {
  it('counts plain weights', () => {
    const { program } = buildModel({ config });
    expect(weightBytes(program, { executor: 'mlx', precise: true })).toBe(4 * parameterCount);
    expect(weightBytes(program, { executor: 'mlx', precise: false })).toBe(2 * parameterCount);
  });

  it('counts affine words with their scales and biases', () => {
    const { program } = buildModel({
      config: { ...config, quantization: { bits: 4, group_size: 64 } },
    });
    const norms = 61 * 576;
    const matrices = parameterCount - norms;
    const expected = matrices / 2 + (matrices / 64) * 2 * 2 + norms * 2;
    expect(weightBytes(program, { executor: 'mlx', precise: false })).toBe(expected);
  });

  it('counts GGUF blocks as each executor holds them', () => {
    const small = smallConfigs.iquestcoder;
    const bytes = (format: 'Q8_0' | 'Q6_K' | 'MXFP4', executor: 'cpu' | 'mlx') => {
      const tensors = tensorsFor(small, () => ({ kind: 'block', format }));
      const { program } = buildModel({ config: small, tensors });
      return weightBytes(program, { executor, precise: false });
    };
    const matrices = 50 * 64 + 2 * 64 * 64 + 2 * 32 * 64 + 3 * 96 * 64;
    const norms = 3 * 64 * 2;
    expect(bytes('Q8_0', 'cpu')).toBe((matrices * 34) / 32 + norms);
    expect(bytes('Q8_0', 'mlx')).toBe(matrices * 1.25 + norms);
    expect(bytes('Q6_K', 'cpu')).toBe((matrices * 210) / 256 + norms);
    expect(bytes('Q6_K', 'mlx')).toBe(matrices * 2 + norms);
    expect(bytes('MXFP4', 'mlx')).toBe((matrices * 17) / 32 + norms);
  });

  it('counts keys and values', () => {
    const { program } = buildModel({ config });
    const bytes = (executor: 'cpu' | 'mlx', precise: boolean) =>
      cacheBytesPerPosition(program, { executor, precise });
    expect(bytes('mlx', false)).toBe(30 * 3 * 64 * 2 * 2);
    expect(bytes('mlx', true)).toBe(30 * 3 * 64 * 2 * 4);
    expect(bytes('cpu', true)).toBe(30 * 3 * 64 * 2 * 4);
    // Bytes, and a scale and a lowest value for 32 channels of a key and for all of a value.
    expect(bytes('cpu', false)).toBe(30 * 3 * (64 + 2 * 4 + 64 + 4));
  });
});
