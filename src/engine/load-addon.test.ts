import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { loadAddon } from './load-addon.ts';

const folder = mkdtempSync(join(tmpdir(), 'cidery-load-'));
afterAll(() => rmSync(folder, { recursive: true }));

test('the cpu addon links no MLX and opens no executor that it has not', () => {
  const addon = loadAddon('cpu');
  expect(addon.info()).toEqual({ addon: 'cpu', abi: '3' });
});

test('an addon that is not there says how to make it', () => {
  expect(() => loadAddon('mlx', { CIDERY_ADDONS: folder })).toThrow(
    expect.objectContaining({ code: 'addon_missing', hint: expect.stringContaining('set-up') }),
  );
});

test('a file that is no addon is refused with its reason', () => {
  writeFileSync(join(folder, 'cidery_cpu.node'), 'not a library');
  expect(() => loadAddon('cpu', { CIDERY_ADDONS: folder })).toThrow(
    expect.objectContaining({ code: 'addon_unusable' }),
  );
});
