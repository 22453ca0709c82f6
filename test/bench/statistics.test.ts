import { describe, expect, it } from 'vitest';
import {
  gaps,
  median,
  pairedRatio,
  perSecond,
  quantile,
  summarize,
} from '../../bench/statistics.ts';

describe('statistics', () => {
  it('takes quantiles between values, whatever their order', () => {
    expect(quantile([4, 1, 3, 2], 0.5)).toBe(2.5);
    expect(quantile([10, 20, 30, 40, 50], 0.99)).toBeCloseTo(49.6, 10);
    expect(quantile([7], 0.99)).toBe(7);
    // Not as text, where 10 comes before 9.
    expect(median([9, 10, 11])).toBe(10);
    expect(() => quantile([], 0.5)).toThrow('a quantile of no values');
  });

  it('summarizes', () => {
    expect(summarize([3, 1, 2])).toEqual({ count: 3, median: 2, min: 1, max: 3 });
  });

  it('compares the rounds that both have, and no others', () => {
    const ours = [
      { round: 0, value: 100 },
      { round: 1, value: 50 },
      { round: 3, value: 1_000 },
    ];
    const theirs = [
      { round: 1, value: 10 },
      { round: 0, value: 50 },
      { round: 2, value: 1 },
    ];
    expect(pairedRatio(ours, theirs, 'more')).toEqual({ count: 2, median: 3.5, min: 2, max: 5 });
    expect(pairedRatio(ours, theirs, 'less')).toEqual({
      count: 2,
      median: 0.35,
      min: 0.2,
      max: 0.5,
    });
    expect(pairedRatio(ours, [{ round: 9, value: 1 }], 'more')).toBeNull();
    expect(pairedRatio([{ round: 0, value: 1 }], [{ round: 0, value: 0 }], 'more')).toBeNull();
  });

  it('has gaps between times and speeds of real durations only', () => {
    expect(gaps([5, 7, 12])).toEqual([2, 5]);
    expect(gaps([5])).toEqual([]);
    expect(perSecond(30, 1_500)).toBe(20);
    expect(perSecond(30, 0)).toBeNaN();
  });
});
