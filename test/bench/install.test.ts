import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { install } from '../../bench/peers/install.ts';

describe('installing a peer', () => {
  let folder = '';
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'cidery-install-'));
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  const node = (script: string) => [process.execPath, '-e', script] as const;
  const peer = () => join(folder, 'peer');
  const append = () => node(`fs.appendFileSync(${JSON.stringify(join(folder, 'log'))}, 'x')`);

  it('happens once for a mark', async () => {
    const once = { folder: peer(), mark: '1', steps: [append()] };
    expect(await install(once)).toBeNull();
    expect(await install(once)).toBeNull();
    expect(await install({ ...once, mark: '2' })).toBeNull();
    expect(readFileSync(join(folder, 'log'), 'utf8')).toBe('xx');
  });

  it('gives the reason of a step that fails, does no further one, and starts anew', async () => {
    const failing = node('console.error("first"); console.error("no network"); process.exit(3)');
    const mark = '1';
    const reason = await install({ folder: peer(), mark, steps: [failing, append()] });
    expect(reason).toBe(`${process.execPath} ended with status 3: no network`);
    expect(existsSync(join(folder, 'log'))).toBe(false);
    expect(await install({ folder: peer(), mark, steps: [append()] })).toBeNull();
  });

  it('gives the reason where a program is missing', async () => {
    const steps = [['/nonexistent/npm'] as const];
    expect(await install({ folder: peer(), mark: '1', steps })).toMatch(
      /^it cannot be installed: /,
    );
  });
});
