import { expect, test } from 'vitest';
import { buildModel } from './model.ts';
import { smolLm2Config as config } from './testing.ts';
import { workingBytes } from './working-memory.ts';

const { program } = buildModel({ config });
const step = { tokens: 10, selected: 2, positions: 100 };
/** Of all buffers with a row a token. */
const columns = 3 * 576 + 2 * 576 - 192 + 576 + 3 * 1536;

test('what a step on mlx works in grows with the step', () => {
  const expected = (10 * columns + 2 * 2 * 576 + 9 * 10 * 100) * 4 + 2 * 49_152 * 8;
  expect(workingBytes(program, { executor: 'mlx', precise: true }, step)).toBe(expected);
});

test('what cpu works in is mapped once', () => {
  const bytes = (positions: number) =>
    workingBytes(program, { executor: 'cpu', precise: false }, { ...step, positions });
  const rows = columns + 2 * 576 + 64 + 576;
  const floats = 512 * rows + 2 ** 20 + 32 * 49_152;
  expect(bytes(100)).toBe(4 * floats + 512 * 1536 * 1.875);
  expect(bytes(8_192)).toBe(bytes(100));
  expect(bytes(2 ** 22)).toBe(bytes(100) + 4 * (3 * (2 ** 13 + 1) * 80 - 2 ** 20));
});

test('a rank with parts of groups of heads', () => {
  // Heads 5 to 8 of 9: the last of the second group of 3, and the third.
  const split = { kind: 'tensor', rank: 1, ranks: 2, shares: null } as const;
  const half = buildModel({ config }, { split, precise: true }).program;
  const bytes = (executor: 'cpu' | 'mlx', positions: number) =>
    workingBytes(half, { executor, precise: true }, { ...step, positions });
  expect(bytes('mlx', 200) - bytes('mlx', 100)).toBe(4 * 10 * 100 * 4);
  const spans = 2 ** 13 + 1;
  expect(bytes('cpu', 2 ** 22) - bytes('cpu', 100)).toBe(4 * (3 * spans * 80 - 2 ** 20));
});

test('no step selects more rows than it has', () => {
  const selected = { ...step, selected: 11 };
  expect(() => workingBytes(program, { executor: 'mlx', precise: true }, selected)).toThrow(
    /bug in cidery/,
  );
});
