import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));
const page = readFileSync(`${root}docs/bad-input.md`, 'utf8');

/** The last column of each row: a test file and words of the test's title. */
const rows = page
  .split('\n')
  .filter((line) => line.startsWith('| ') && !/^\| (input|---)/.test(line))
  .map((line) => {
    const cells = line.split(' | ');
    const [, path = '', title = ''] = /^`([^`]+)`: (.+?) \|$/.exec(cells.at(-1) ?? '') ?? [];
    return { input: cells[0]?.slice(2) ?? '', path, title };
  });

test('the table of bad input has rows', () => {
  expect(rows.length).toBeGreaterThan(25);
});

test.each(rows)('the test of "$input" exists', ({ path, title }) => {
  expect(path, 'the row names a file').not.toBe('');
  expect(existsSync(root + path), path).toBe(true);
  expect(readFileSync(root + path, 'utf8')).toContain(title);
});
