import fc from 'fast-check';
import { expect, test } from 'vitest';
import { indexOf, lastIndexOf } from './text-search.ts';

const units = fc.string({ unit: fc.constantFrom('a', 'b'), maxLength: 400 });

test("finds what JavaScript's own searches find", () => {
  fc.assert(
    fc.property(units, units, fc.integer({ min: -2, max: 500 }), (text, other, from) => {
      const needles = ['', other, other.slice(0, 3), text.slice(100), text.slice(7, 90)];
      for (const needle of needles) {
        expect(indexOf(text, needle, from)).toBe(text.indexOf(needle, from));
        expect(indexOf(text, needle)).toBe(text.indexOf(needle));
        expect(lastIndexOf(text, needle)).toBe(text.lastIndexOf(needle));
        // JavaScript takes a place before the text for its beginning; here it finds nothing.
        expect(lastIndexOf(text, needle, from)).toBe(
          from < 0 ? -1 : text.lastIndexOf(needle, from),
        );
      }
    }),
  );
});

test('a needle that agrees only in its beginning is not found', () => {
  const needle = `${'a'.repeat(100)}b`;
  expect(indexOf('a'.repeat(300), needle)).toBe(-1);
  expect(indexOf(`${'a'.repeat(300)}b`, needle)).toBe(200);
  expect(lastIndexOf(`${needle}${'a'.repeat(300)}`, needle)).toBe(0);
});
