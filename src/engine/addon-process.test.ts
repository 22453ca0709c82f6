import { execFile, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { afterAll, describe, expect, test } from 'vitest';
import { encodeProgram } from '../model/program-encoding.ts';
import { loadAddon } from './load-addon.ts';
import { modelBytes, program, tinyOptions } from './testing-addon.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const addonPath = join(root, 'build', `${process.platform}-${process.arch}`, 'cidery_mlx.node');
const folder = mkdtempSync(join(tmpdir(), 'cidery-addon-'));
afterAll(() => rmSync(folder, { recursive: true }));
const modelPath = join(folder, 'model.bin');
writeFileSync(modelPath, modelBytes());

describe('the addon in a process', () => {
  test('a second thread of the process is refused', async () => {
    expect(loadAddon('mlx').info()).toMatchObject({ addon: 'mlx' });
    const worker = new Worker(
      `try { require(${JSON.stringify(addonPath)}) } catch (e) {
         require('node:worker_threads').parentPort.postMessage(e.code) }`,
      { eval: true },
    );
    const code = await new Promise((resolve) => worker.once('message', resolve));
    expect(code).toBe('addon_in_use');
    await worker.terminate();
  });

  const openScript = `
    const addon = require(${JSON.stringify(addonPath)});
    const engine = addon.openEngine({ ...${JSON.stringify({ ...tinyOptions(modelPath), program: null })},
      program: Uint8Array.from(${JSON.stringify([...encodeProgram(program)])}) });`;

  test.each([
    ['an open engine lets an idle process end', openScript, 0],
    ['process.exit does not wait for an open engine', `${openScript} process.exit(7)`, 7],
    [
      'process.exit does not wait for calls that run',
      `${openScript} for (let i = 0; i < 30; i++) addon.bind(engine).catch(() => {}); process.exit(8)`,
      8,
    ],
  ])('%s', async (_, script, expected) => {
    const code = await new Promise((resolve) => {
      const child = execFile(process.execPath, ['-e', script], { timeout: 20_000 }, () =>
        resolve(child.exitCode ?? child.signalCode),
      );
    });
    expect(code).toBe(expected);
  });

  test('a process leaves when its lifeline closes, though JavaScript never returns', async () => {
    const script = `require(${JSON.stringify(addonPath)}).watchLifeline(3, 42);
      console.log('watching'); for (;;);`;
    const child = spawn(process.execPath, ['-e', script], {
      stdio: ['ignore', 'pipe', 'inherit', 'pipe'],
    });
    await new Promise((resolve) => child.stdout?.once('data', resolve));
    const lifeline = child.stdio[3];
    if (lifeline === null || lifeline === undefined || !('write' in lifeline)) {
      throw new Error('no lifeline');
    }
    await new Promise((resolve) => lifeline.write('bytes are dropped', resolve));
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(child.exitCode).toBe(null);
    lifeline.destroy();
    const code = await new Promise((resolve) => child.once('exit', resolve));
    expect(code).toBe(42);
  });

  test('a grandchild leaves when its parent is killed', async () => {
    const inner = `require(${JSON.stringify(addonPath)}).watchLifeline(3, 0);
      console.log('watching'); for (;;);`;
    const outer = `require('node:child_process').spawn(process.execPath,
      ['-e', ${JSON.stringify(inner)}], { stdio: ['ignore', 'inherit', 'inherit', 'pipe'] });
      setInterval(() => {}, 1000);`;
    const parent = spawn(process.execPath, ['-e', outer], { stdio: ['ignore', 'pipe', 'inherit'] });
    await new Promise((resolve) => parent.stdout.once('data', resolve));
    // Standard output closes when the last process that holds it ends.
    const closed = new Promise((resolve) => parent.stdout.once('close', resolve));
    parent.kill('SIGKILL');
    await closed;
  });
});
