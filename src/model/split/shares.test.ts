import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { apportion, cutEvenly, evenRuns, type Range, rangesOf } from './shares.ts';

const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
const anyWeights = fc.array(
  fc.oneof(fc.integer({ min: 1, max: 9 }), fc.double({ min: 1e-9, max: 1e12, noNaN: true })),
  {
    minLength: 1,
    maxLength: 9,
  },
);

describe('apportion', () => {
  it.each<[number, number[], number[]]>([
    [61, [1, 1], [31, 30]],
    [9, [1, 1, 1, 1], [3, 2, 2, 2]],
    [30, [2, 1], [20, 10]],
    [10, [1, 2, 4], [1, 3, 6]],
    [4, [1, 1000, 1], [1, 2, 1]],
    [3, [5, 1, 1], [1, 1, 1]],
    [1536, [1], [1536]],
  ])('%i by %j is %j', (units, weights, expected) => {
    expect(apportion(units, weights)).toEqual(expected);
  });

  it('gives out everything, one at least, and nobody less than a whole unit too little', () => {
    const property = fc.property(anyWeights, fc.nat(100_000), (weights, more) => {
      const units = weights.length + more;
      const counts = apportion(units, weights);
      expect(counts.length).toBe(weights.length);
      expect(sum(counts)).toBe(units);
      expect(Math.min(...counts)).toBeGreaterThanOrEqual(1);
      const quotas = weights.map((weight) => (units * weight) / sum(weights));
      // Only what the least share of others takes can cost more than rounding does.
      if (Math.min(...quotas) < 1) return;
      for (const [at, quota] of quotas.entries()) {
        expect(Math.abs((counts[at] ?? 0) - quota)).toBeLessThan(1);
      }
    });
    fc.assert(property, { numRuns: 500 });
  });
});

describe('rangesOf', () => {
  it('lays counts of units end to end', () => {
    expect(rangesOf([2, 1], 16, 100)).toEqual([
      { first: 100, count: 32 },
      { first: 132, count: 16 },
    ]);
  });
});

describe('evenRuns', () => {
  it.each<[number, number[], number, number[]]>([
    [1, [1, 1, 1], 3, [3]],
    [2, [1, 1, 1, 1], 4, [2, 2]],
    [2, [3, 1, 1, 1], 4, [1, 3]],
    [2, [9, 1, 1, 1], 2, [2, 2]],
    [3, [1, 1, 1], 1, [1, 1, 1]],
  ])('%i runs of %j, none longer than %i, are %j', (runs, weights, longest, expected) => {
    expect(evenRuns(runs, weights, longest)).toEqual(expected);
  });

  it('finds the runs whose lightest weighs most', () => {
    const property = fc.property(
      fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 7 }),
      fc.integer({ min: 1, max: 7 }),
      fc.integer({ min: 1, max: 7 }),
      (weights, runs, longest) => {
        fc.pre(runs <= weights.length && weights.length <= runs * longest);
        const lightest = (lengths: readonly number[]) =>
          Math.min(
            ...rangesOf(lengths).map(({ first, count }) =>
              sum(weights.slice(first, first + count)),
            ),
          );
        const found = evenRuns(runs, weights, longest);
        expect([found.length, sum(found)]).toEqual([runs, weights.length]);
        expect(Math.max(...found)).toBeLessThanOrEqual(longest);
        const best = allRuns(runs, weights.length, longest).map(lightest);
        expect(lightest(found)).toBe(Math.max(...best));
      },
    );
    fc.assert(property, { numRuns: 300 });
  });
});

function allRuns(runs: number, count: number, longest: number): number[][] {
  if (runs === 0) return count === 0 ? [[]] : [];
  return Array.from({ length: Math.min(longest, count) }, (_, at) => at + 1).flatMap((length) =>
    allRuns(runs - 1, count - length, longest).map((rest) => [length, ...rest]),
  );
}

describe('cutEvenly', () => {
  const steps = (range: Range) => range.count + Math.ceil((range.first + range.count) / 3);

  it('makes the earlier ranges longer where that is as good', () => {
    const cuts = cutEvenly(9, [1, 1], ({ count }) => count);
    expect(cuts).toEqual(rangesOf([5, 4]));
  });

  it('finds the cuts whose largest load is least', () => {
    const property = fc.property(
      fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 5 }),
      fc.nat(6),
      (weights, more) => {
        const units = weights.length + more;
        const largest = (ranges: readonly Range[]) =>
          Math.max(...ranges.map((range, at) => steps(range) / (weights[at] ?? 0)));
        const found = cutEvenly(units, weights, steps);
        expect(found).toEqual(rangesOf(found.map(({ count }) => count)));
        const all = allRuns(weights.length, units, units).map((counts) => rangesOf(counts));
        expect(largest(found)).toBe(Math.min(...all.map(largest)));
      },
    );
    fc.assert(property, { numRuns: 300 });
  });
});
