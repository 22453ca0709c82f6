import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { buildModel } from '../model.ts';
import type { AttentionSpec } from '../spec.ts';
import { smallConfigs } from '../testing.ts';
import { byKeyHeads, divideHeads, fallBetween, largestLoad } from './heads.ts';
import { type Range, rangesOf } from './shares.ts';

const [layer] = buildModel({ config: smallConfigs.llama }).spec.layers;
function mixerOf(changes: Partial<AttentionSpec>): AttentionSpec {
  if (layer === undefined) throw new Error('a model without layers');
  return { ...layer.mixer, headWidth: 64, headNorm: 'none', ...changes };
}

/** Heads in each range. */
const headsIn = (ranges: readonly Range[], { headWidth }: AttentionSpec) =>
  ranges.map(({ count }) => count / headWidth);
const equal = (members: number) => Array.from({ length: members }, () => 1);

describe('query heads', () => {
  /** By heads, key heads, weights and columns of a group: query and key heads of each member. */
  it.each<[string, number, number, number[], number, number[], number[]]>([
    ['SmolLM2-135M over two', 9, 3, [1, 1], 32, [5, 4], [2, 2]],
    ['SmolLM2-135M over three', 9, 3, [1, 1, 1], 32, [3, 3, 3], [1, 1, 1]],
    ['more members than key heads', 9, 3, [1, 1, 1, 1], 32, [2, 1, 3, 3], [1, 1, 1, 1]],
    ['two key heads over three', 16, 2, [1, 1, 1], 1, [6, 5, 5], [1, 2, 1]],
    ['shares', 9, 3, [1, 3], 1, [2, 7], [1, 3]],
    ['too little to gain for a key head', 32, 8, [1, 1, 1], 1, [12, 12, 8], [3, 3, 2]],
    ['many key heads', 126, 63, [1, 1], 1, [64, 62], [32, 31]],
    ['one query head a key head', 9, 9, [1, 1], 1, [5, 4], [5, 4]],
    ['groups that only whole key heads fit', 12, 3, [1, 1], 256, [8, 4], [2, 1]],
    ['no cut that fits groups', 9, 3, [1, 1], 256, [5, 4], [2, 2]],
  ])('%s', (_, heads, keyHeads, weights, group, queries, keys) => {
    const mixer = mixerOf({ heads, keyHeads });
    const parts = divideHeads(mixer, weights, group);
    expect(headsIn(parts.queries, mixer)).toEqual(queries);
    expect(headsIn(parts.values, mixer)).toEqual(keys);
    expect(parts.keys).toEqual(parts.values);
  });

  it('whole keys are computed by all where they are normalized over their width', () => {
    const mixer = mixerOf({ heads: 10, keyHeads: 5, headNorm: 'width' });
    expect(divideHeads(mixer, [1, 1], 1)).toEqual(byKeyHeads(mixer, [1, 1], 1));
    const shared = divideHeads({ ...mixer, heads: 9, keyHeads: 3 }, [1, 1], 1);
    expect(headsIn(shared.queries, mixer)).toEqual([5, 4]);
    expect(headsIn(shared.keys, mixer)).toEqual([3, 3]);
    expect(headsIn(shared.values, mixer)).toEqual([2, 2]);
  });
});

const anyMixer = fc
  .record({
    keyHeads: fc.integer({ min: 1, max: 12 }),
    sharing: fc.integer({ min: 1, max: 9 }),
    headWidth: fc.constantFrom(16, 64, 80, 128),
    headNorm: fc.constantFrom<AttentionSpec['headNorm']>('none', 'width'),
  })
  .map(({ sharing, ...mixer }) => mixerOf({ ...mixer, heads: mixer.keyHeads * sharing }));
const anyGroup = fc.constantFrom(1, 32, 64, 256);
const anyWeights = fc.array(
  fc.oneof(fc.integer({ min: 1, max: 4 }), fc.double({ min: 0.01, max: 100, noNaN: true })),
  { minLength: 1, maxLength: 8 },
);
const anyDivision = fc
  .tuple(anyMixer, anyWeights, anyGroup)
  .filter(([mixer, weights]) => weights.length <= mixer.heads);

describe('any division', () => {
  it('has each query head once, whole, and each key head with all who need it', () => {
    const property = fc.property(anyDivision, ([mixer, weights, group]) => {
      const { heads, keyHeads, headWidth, headNorm } = mixer;
      const { queries, keys, values } = divideHeads(mixer, weights, group);
      const counts = headsIn(queries, mixer);
      expect(queries).toEqual(rangesOf(counts, headWidth));
      expect(counts.every((count) => Number.isInteger(count) && count >= 1)).toBe(true);
      expect(counts.reduce((sum, count) => sum + count, 0)).toBe(heads);
      const groupWidth = (heads / keyHeads) * headWidth;
      const needed = queries.map(({ first, count }) => {
        const from = Math.floor(first / groupWidth);
        return {
          first: from * headWidth,
          count: (Math.floor((first + count - 1) / groupWidth) + 1 - from) * headWidth,
        };
      });
      expect(values).toEqual(needed);
      const whole = weights.map(() => ({ first: 0, count: keyHeads * headWidth }));
      const apart = values.every(({ first }, at) => {
        const before = values[at - 1];
        return before === undefined || first === before.first + before.count;
      });
      if (headNorm !== 'width') expect(keys).toEqual(values);
      else if (!apart) expect(keys).toEqual(whole);
      else expect([JSON.stringify(values), JSON.stringify(whole)]).toContain(JSON.stringify(keys));
    });
    fc.assert(property, { numRuns: 500 });
  });

  it('has no larger load than whole groups, and is cut between groups where those are', () => {
    const property = fc.property(anyDivision, ([mixer, weights, group]) => {
      const whole = byKeyHeads(mixer, weights, group);
      const parts = divideHeads(mixer, weights, group);
      expect(largestLoad(parts, weights)).toBeLessThanOrEqual(largestLoad(whole, weights));
      const fit = fallBetween(parts.queries, group);
      expect(fit || !fallBetween(whole.queries, group)).toBe(true);
    });
    fc.assert(property, { numRuns: 500 });
  });

  it('is in whole groups, or equal parts of them, where counts divide', () => {
    const property = fc.property(
      fc.record({
        members: fc.integer({ min: 1, max: 6 }),
        times: fc.integer({ min: 1, max: 4 }),
        sharing: fc.integer({ min: 1, max: 5 }),
        repeated: fc.boolean(),
      }),
      ({ members, times, sharing, repeated }) => {
        const keyHeads = repeated ? times : members * times;
        const ranks = repeated ? members * times : members;
        const heads = keyHeads * sharing * (repeated ? members : 1);
        const mixer = mixerOf({ heads, keyHeads });
        const parts = divideHeads(mixer, equal(ranks), 1);
        expect(parts).toEqual(byKeyHeads(mixer, equal(ranks), 1));
        expect(headsIn(parts.queries, mixer)).toEqual(equal(ranks).map(() => heads / ranks));
        const held = repeated ? 1 : times;
        expect(headsIn(parts.values, mixer)).toEqual(equal(ranks).map(() => held));
      },
    );
    fc.assert(property, { numRuns: 300 });
  });
});
