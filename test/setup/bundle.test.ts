import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { projectRoot } from './sandbox.ts';

test('dist/ brings the licence of each package in it, under its name', () => {
  const notices = readFileSync(join(projectRoot, 'dist/third-party.txt'), 'utf8');
  const parts = notices.split(/^-{80}$/mu).map((part) => part.trim().split('\n'));
  expect(parts.map(([name]) => name)).toEqual(['@hono/node-server', 'commander', 'hono', 'zod']);
  for (const part of parts) expect(part.join('\n')).toMatch(/Copyright \(c\)/u);
});
