import { execFile, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Duplex } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { afterAll, describe, expect, test } from 'vitest';
import { encodeProgram } from '../model/program-encoding.ts';
import type { Columns, Operation, Program } from '../model/program.ts';
import type { ParameterSource } from './addon.ts';
import { loadAddon } from './load-addon.ts';
import { encodePlan } from './step-plan.ts';
import { dense, modelBytes, program, tinyOptions } from './testing-addon.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const addonPath = join(root, 'build', `${process.platform}-${process.arch}`, 'cidery_mlx.node');
const folder = mkdtempSync(join(tmpdir(), 'cidery-addon-'));
afterAll(() => rmSync(folder, { recursive: true }));
const modelPath = join(folder, 'model.bin');
writeFileSync(modelPath, modelBytes());
const wide = 1024;
const longTokens = 4096;

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
    const engine = addon.openEngine({
      ...${JSON.stringify({ ...tinyOptions(modelPath), program: null })},
      program: Uint8Array.from(${JSON.stringify([...encodeProgram(program)])}) });`;

  test.each([
    ['an open engine lets an idle process end', openScript, 0],
    ['process.exit does not wait for an open engine', `${openScript} process.exit(7)`, 7],
    [
      'process.exit does not wait for calls that run',
      `${openScript} for (let i = 0; i < 30; i++) addon.bind(engine).catch(() => {});
      process.exit(8)`,
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

  test('process.exit leaves with its status in the middle of a long step', async () => {
    const file = join(folder, 'wide.bin');
    writeFileSync(file, new Uint8Array(wide * wide * 4));
    const bytes = (data: Uint8Array) => `Uint8Array.from(${JSON.stringify([...data])})`;
    const options = { ...tinyOptions(file), program: null, positions: longTokens };
    const plan = encodePlan({
      number: 1,
      retired: [],
      copies: [],
      sequences: [
        {
          slot: 0,
          firstPosition: 0,
          tokens: Array.from({ length: longTokens }, () => 1),
          want: { kind: 'logits', rows: 1 },
        },
      ],
    });
    const script = `
      const addon = require(${JSON.stringify(addonPath)});
      const engine = addon.openEngine({ ...${JSON.stringify(options)},
        program: ${bytes(encodeProgram(longProgram()))} });
      (async () => {
        await addon.loadParameters(engine, ${JSON.stringify(longSources())});
        await addon.bind(engine);
        addon.step(engine, ${bytes(plan)}).then(() => process.exit(1), () => process.exit(2));
        setTimeout(() => process.exit(9), 300);
      })();`;
    const path = join(folder, 'long.cjs');
    writeFileSync(path, script);
    const code = await new Promise((resolve) => {
      const child = execFile(process.execPath, [path], { timeout: 20_000 }, () =>
        resolve(child.exitCode ?? child.signalCode),
      );
    });
    expect(code).toBe(9);
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

  test('a lifeline carries signs of life, whatever JavaScript does, unless stopped', async () => {
    const script = `require(${JSON.stringify(addonPath)}).watchLifeline(3, 42); for (;;);`;
    const child = spawn(process.execPath, ['-e', script], {
      stdio: ['ignore', 'inherit', 'inherit', 'pipe'],
    });
    const lifeline = child.stdio[3];
    if (!(lifeline instanceof Duplex)) throw new Error('no lifeline');
    let signs = 0;
    lifeline.on('data', (bytes: Buffer) => (signs += bytes.length));
    await expect.poll(() => signs, { timeout: 20_000 }).toBeGreaterThan(2);
    child.kill('SIGSTOP');
    await new Promise((resolve) => setTimeout(resolve, 200));
    const before = signs;
    await new Promise((resolve) => setTimeout(resolve, 1_500));
    expect(signs).toBe(before);
    child.kill('SIGCONT');
    await expect.poll(() => signs, { timeout: 20_000 }).toBeGreaterThan(before);
    child.kill('SIGKILL');
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

/** Half a minute and more of matrix products. */
function longProgram(): Program {
  const whole = (buffer: number): Columns => ({ buffer, column: 0, width: wide });
  const products = Array.from(
    { length: 200 },
    (_, i): Operation => ({
      kind: 'linear',
      fields: { out: whole((i + 1) % 2), in: whole(i % 2), weight: 0, bias: null },
    }),
  );
  return {
    vocabulary: wide,
    contextLength: longTokens,
    rank: 0,
    ranks: 1,
    buffers: [
      { name: 'even', width: wide, domain: 'tokens' },
      { name: 'odd', width: wide, domain: 'tokens' },
      { name: 'last', width: wide, domain: 'selected' },
    ],
    parameters: [{ path: 'weight', shape: [wide, wide], storage: { kind: 'dense' } }],
    ropes: [],
    caches: [],
    layouts: [],
    operations: [
      { kind: 'embed', fields: { out: whole(0), table: 0, scale: 1, first: 0 } },
      ...products,
      { kind: 'select', fields: { out: whole(2), in: whole(0) } },
      {
        kind: 'head',
        fields: { in: whole(2), weight: 0, bias: null, scale: 1, softcap: 0, first: 0 },
      },
    ],
  };
}

function longSources(): readonly ParameterSource[] {
  const rowBytes = wide * wide * 4;
  const piece = { file: 0, offset: 0, rowBytes, rowStride: rowBytes, rowCount: 1 };
  return [{ parameter: 0, parts: [{ ...dense(0), shape: [wide, wide], pieces: [piece] }] }];
}
