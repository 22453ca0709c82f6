import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { withLock } from '../../scripts/setup/lock.mjs';
import { projectRoot } from './sandbox.ts';

let folder = '';
let lock = '';

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'cidery-lock-'));
  lock = join(folder, 'build', 'lock');
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const never = new AbortController().signal;

/** A process id of this machine that no process has. */
function deadProcess(): Promise<number> {
  return new Promise((resolve) => {
    const child = spawn('true');
    child.once('exit', () => resolve(child.pid ?? 0));
  });
}

describe('withLock', () => {
  it('lets one work at a time, and leaves nothing behind', async () => {
    const seen: string[] = [];
    const waited: string[] = [];
    const work = (name: string) => async () => {
      seen.push(`${name} in`);
      await sleep(30);
      seen.push(`${name} out`);
    };
    const options = { signal: never, onWait: (holder: string) => waited.push(holder) };
    await Promise.all([
      withLock(lock, options, work('a')),
      withLock(lock, options, work('b')),
      withLock(lock, options, work('c')),
    ]);
    expect(seen).toHaveLength(6);
    for (let index = 0; index < 6; index += 2) {
      expect(seen[index + 1]).toBe(seen[index]?.replace(' in', ' out'));
    }
    expect(waited).toEqual(Array.from({ length: 2 }, () => expect.stringMatching(/^process \d+/u)));
    expect(existsSync(lock)).toBe(false);
  });

  it('is given back when the work throws', async () => {
    const options = { signal: never, onWait: () => expect.unreachable() };
    const failing = withLock(lock, options, () => Promise.reject(new Error('no')));
    await expect(failing).rejects.toThrow('no');
    expect(await withLock(lock, options, () => Promise.resolve('yes'))).toBe('yes');
  });

  it('takes over from a process that is gone', async () => {
    const pid = await deadProcess();
    await withLock(lock, { signal: never, onWait: () => undefined }, async () => undefined);
    writeFileSync(lock, JSON.stringify({ pid, host: hostname() }));
    const options = { signal: never, onWait: () => expect.unreachable() };
    expect(await withLock(lock, options, () => Promise.resolve('mine'))).toBe('mine');
  });

  it.each([
    ['cut in the middle', '{"pid":'],
    ['of another machine', JSON.stringify({ pid: 1, host: 'elsewhere' })],
  ])('waits for a lock %s, until nobody touches it any more', async (_, content) => {
    await withLock(lock, { signal: never, onWait: () => undefined }, async () => undefined);
    writeFileSync(lock, content);
    const onWait = () => utimesSync(lock, new Date(0), new Date(0));
    expect(await withLock(lock, { signal: never, onWait }, () => Promise.resolve(1))).toBe(1);
  });

  it('stops waiting when interrupted', async () => {
    const controller = new AbortController();
    const held = withLock(lock, { signal: never, onWait: () => undefined }, () => sleep(300));
    await sleep(20);
    const onWait = () => controller.abort();
    const waiting = withLock(lock, { signal: controller.signal, onWait }, () => sleep(0));
    await expect(waiting).rejects.toThrow(/interrupted/u);
    await held;
  });

  it('holds among processes that all find a lock left behind', async () => {
    const counter = join(folder, 'counter');
    writeFileSync(counter, '0');
    await withLock(lock, { signal: never, onWait: () => undefined }, async () => undefined);
    writeFileSync(lock, JSON.stringify({ pid: await deadProcess(), host: hostname() }));
    const module = pathToFileURL(join(projectRoot, 'scripts/setup/lock.mjs')).href;
    const script = `
      import { readFileSync, writeFileSync } from 'node:fs';
      import { setTimeout as sleep } from 'node:timers/promises';
      import { withLock } from '${module}';
      const options = { signal: new AbortController().signal, onWait: () => {} };
      await withLock('${lock}', options, async () => {
        const count = Number(readFileSync('${counter}', 'utf8'));
        await sleep(20);
        writeFileSync('${counter}', String(count + 1));
      });`;
    const codes = await Promise.all(Array.from({ length: 6 }, () => runScript(script)));
    expect(codes).toEqual([0, 0, 0, 0, 0, 0]);
    expect(readFileSync(counter, 'utf8')).toBe('6');
  });
});

function runScript(script: string): Promise<number | null> {
  return new Promise((resolve) => {
    const args = ['--input-type=module', '-e', script];
    spawn(process.execPath, args, { stdio: 'inherit' }).once('exit', resolve);
  });
}
