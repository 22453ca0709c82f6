import { describe, expect, it } from 'vitest';
import { Prompts } from '../../bench/texts.ts';

describe('prompts', () => {
  it('have their length and beginnings of their own', () => {
    const prompts = new Prompts(Array.from({ length: 1_000 }, (_, index) => index));
    const taken = [...prompts.many(5, 64), ...prompts.many(5, 512)];
    expect(taken.map(({ length }) => length)).toEqual([
      ...Array(5).fill(64),
      ...Array(5).fill(512),
    ]);
    expect(new Set(taken.map((ids) => ids.slice(0, 8).join(' '))).size).toBe(10);
  });

  it('run out rather than repeat themselves', () => {
    const same = new Prompts(Array.from({ length: 1_000 }, () => 7));
    expect(same.next(64)).toHaveLength(64);
    expect(() => same.next(64)).toThrow('no prompt of 64 tokens is left');
    expect(() => same.next(1_000)).toThrow('no prompt of 1000 tokens is left');
    expect(() => new Prompts([]).next(1)).toThrow('no prompt of 1 tokens is left');
  });
});
