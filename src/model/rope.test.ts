import { describe, expect, it } from 'vitest';
import type { Config } from './config.ts';
import { makeRope, scaledContext } from './rope.ts';

const rope = (width: number, theta: number, scaling: Config | null, positions = 131_072) =>
  makeRope({ width, theta, traditional: false, scaling, positions });

/** Largest relative difference from what mlx-lm 0.32.2 computed for the same config. */
function deviation(found: readonly number[] | null, reference: readonly number[]): number {
  expect(found).toHaveLength(reference.length);
  return Math.max(...reference.map((value, i) => Math.abs((found?.[i] ?? NaN) / value - 1)));
}

describe('makeRope gives the frequencies of mlx-lm', () => {
  it('llama3, Llama 3.2 1B', () => {
    const { frequencies } = rope(64, 500_000, {
      rope_type: 'llama3',
      factor: 32,
      low_freq_factor: 1,
      high_freq_factor: 4,
      original_max_position_embeddings: 8192,
    });
    const reference = [
      1, 1.5069290399551392, 2.2708351612091064, 3.421987533569336, 5.1566925048828125,
      7.770770072937012, 11.709999084472656, 17.64613914489746, 26.591480255126953,
      40.07147216796875, 60.38486862182617, 90.99571228027344, 137.12408447265625,
      206.6362762451172, 311.3861999511719, 774.86474609375, 2327.9814453125, 10300.4794921875,
      51383.13671875, 77430.7421875, 116682.6328125, 175832.453125, 264967.03125, 399286.53125,
      601696.5, 906713.9375, 1366353.625, 2058998, 3102764, 4675645, 7045865.5, 10617620,
    ];
    expect(deviation(frequencies, reference)).toBeLessThan(1e-6);
  });

  it('llama3 with its defaults', () => {
    const { frequencies } = rope(16, 10_000, { rope_type: 'llama3', factor: 8 });
    const reference = [
      1, 3.1622776985168457, 10, 31.62277603149414, 100, 316.2277526855469, 4681.48291015625,
      25298.220703125,
    ];
    expect(deviation(frequencies, reference)).toBeLessThan(1e-6);
  });

  it('yarn, Qwen', () => {
    const scaling = { type: 'yarn', factor: 4, original_max_position_embeddings: 32_768 };
    const { frequencies, preScale } = rope(32, 1e6, scaling, 32_768);
    const reference = [
      1, 2.3713736534118652, 5.6234130859375, 13.335213661193848, 31.62277603149414,
      74.98941802978516, 209.20933532714844, 602.4235229492188, 1818.1817626953125, 5928.4345703125,
      22493.65234375, 53340.859375, 126491.109375, 299957.6875, 711311.75, 1686786,
    ];
    expect(deviation(frequencies, reference)).toBeLessThan(1e-6);
    expect(preScale).toBeCloseTo(1.138629436111989, 12);
  });

  it('yarn with both mscales, DeepSeek', () => {
    const { frequencies, preScale } = rope(16, 10_000, {
      rope_type: 'yarn',
      factor: 40,
      mscale: 1,
      mscale_all_dim: 0.5,
    });
    const reference = [
      1, 3.1622776985168457, 10, 41.81523895263672, 195.1219482421875, 1176.661376953125, 40000,
      126491.1015625,
    ];
    expect(deviation(frequencies, reference)).toBeLessThan(1e-6);
    expect(preScale).toBeCloseTo(1.1557219901962608, 12);
  });

  it('yarn whose ramp has no length, or lies before the first dimension', () => {
    const long = rope(8, 10_000, {
      type: 'yarn',
      factor: 16,
      original_max_position_embeddings: 16_384,
      mscale: 1,
      mscale_all_dim: 1,
    });
    const reference = [1, 10, 145.4545440673828, 2666.6669921875];
    expect(deviation(long.frequencies, reference)).toBeLessThan(1e-6);
    expect(long.preScale).toBe(1);
    const short = rope(8, 10_000, {
      type: 'yarn',
      factor: 16,
      original_max_position_embeddings: 8,
      beta_fast: 64,
      beta_slow: 32,
    });
    expect(deviation(short.frequencies, [1, 10, 100, 1000])).toBeLessThan(1e-6);
    expect(short.preScale).toBeCloseTo(1.2772588722239782, 12);
  });

  it('longrope takes the long factors', () => {
    const { frequencies, preScale } = rope(12, 10_000, {
      type: 'longrope',
      short_factor: [1, 1, 1, 1, 1, 1],
      long_factor: [1, 1.5, 2.25, 7.125, 30.3, 64.75],
      original_max_position_embeddings: 4096,
    });
    const reference = [1, 6.96238374710083, 48.47478485107422, 712.5, 14064.0166015625, 139499.625];
    expect(deviation(frequencies, reference)).toBeLessThan(1e-6);
    expect(preScale).toBeCloseTo(1.1902380714238083, 12);
  });
});

describe('makeRope without frequencies', () => {
  const plain = {
    width: 16,
    traditional: false,
    base: 10_000,
    scale: 1,
    preScale: 1,
    dynamicFactor: 1,
    dynamicFrom: 0,
    frequencies: null,
  };

  it('default, mrope, linear and dynamic', () => {
    expect(rope(16, 10_000, null)).toEqual(plain);
    expect(rope(16, 10_000, {})).toEqual(plain);
    expect(rope(16, 10_000, { rope_type: 'mrope', mrope_section: [2, 3, 3] })).toEqual(plain);
    expect(rope(16, 10_000, { type: 'linear', factor: 4 })).toEqual({ ...plain, scale: 0.25 });
    const dynamic = { ...plain, dynamicFactor: 2, dynamicFrom: 32 };
    expect(rope(16, 10_000, { type: 'dynamic', factor: 2 }, 32)).toEqual(dynamic);
  });

  it('takes `type` before `rope_type`', () => {
    const scaling = { type: 'linear', rope_type: 'default', factor: 2 };
    expect(rope(16, 10_000, scaling).scale).toBe(0.5);
  });
});

it('scaledContext reaches as far as dynamic and yarn ropes do, and no further for others', () => {
  const reach = (scaling: Config | null) =>
    scaledContext(2048, rope(16, 1e4, scaling, 2048), scaling);
  expect(reach(null)).toBe(2048);
  expect(reach({ type: 'linear', factor: 4 })).toBe(2048);
  expect(reach({ type: 'dynamic', factor: 4 })).toBe(8192);
  const yarn = { type: 'yarn', factor: 4 };
  expect(reach({ ...yarn, original_max_position_embeddings: 2048 })).toBe(8192);
  expect(reach({ ...yarn, original_max_position_embeddings: 256 })).toBe(2048);
});
