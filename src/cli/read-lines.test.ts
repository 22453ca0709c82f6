import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { readLines } from './read-lines.ts';

async function* chunks(bytes: Uint8Array, sizes: readonly number[]) {
  let from = 0;
  for (const size of sizes) {
    yield bytes.subarray(from, from + size);
    from += size;
  }
  yield bytes.subarray(from);
}

async function linesOf(text: string, sizes: readonly number[], max = 100): Promise<unknown[]> {
  const lines: unknown[] = [];
  for await (const line of readLines(chunks(new TextEncoder().encode(text), sizes), max)) {
    lines.push(line);
  }
  return lines;
}

describe('reading lines', () => {
  test('come back as they were written, however they are cut', async () => {
    const line = fc
      .string({ unit: 'grapheme', maxLength: 8 })
      .map((text) => text.replace(/\s/g, ''));
    await fc.assert(
      fc.asyncProperty(fc.array(line), fc.array(fc.nat({ max: 7 })), async (lines, sizes) => {
        const text = lines.map((one) => `${one}\n`).join('');
        expect(await linesOf(text, sizes)).toEqual(lines);
      }),
    );
  });

  test('the last needs no end, and returns go', async () => {
    expect(await linesOf('a\r\n\r\nb', [])).toEqual(['a', '', 'b']);
  });

  test('a line that is too long is an error in its place', async () => {
    const found = await linesOf(`a\n${'x'.repeat(101)}\nb\n${'y'.repeat(500)}`, [7, 90, 30]);
    expect(found).toMatchObject(['a', { code: 'line_too_long' }, 'b', { code: 'line_too_long' }]);
  });
});
