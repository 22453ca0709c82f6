#!/usr/bin/env node
// Compares the arm64 kernels of every instruction set with the plain ones, bit by bit, in the
// emulator of qemu-user with Debian's cross compiler, and sees that a processor that lacks a set
// refuses it. Prints why where either is missing.
import { basename, dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildKernelTests } from './emulated/kernel-tests.mjs';
import { explain } from './setup/error.mjs';
import { createContext } from './setup/main.mjs';
import { findProgram, lastLines, run } from './setup/process.mjs';

/** @typedef {import('./setup/context.mjs').Context} Context */

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const testTimeoutMs = 3 * 60_000;
/** The exit status of a kernel test whose processor lacks the set. */
const lacksSet = 2;

/**
 * Which sets each of qemu's processors has: a set that it has must give plain's bits, another must
 * be refused.
 * @type {{ processor: string, set: string, status: number }[]}
 */
const cases = [
  { processor: 'max', set: 'i8mm', status: 0 },
  { processor: 'max', set: 'dotprod', status: 0 },
  { processor: 'max', set: 'neon', status: 0 },
  { processor: 'cortex-a76', set: 'dotprod', status: 0 },
  { processor: 'cortex-a76', set: 'i8mm', status: lacksSet },
  { processor: 'cortex-a72', set: 'neon', status: 0 },
  { processor: 'cortex-a72', set: 'dotprod', status: lacksSet },
];

/**
 * @param {Context} context
 * @param {string} emulator
 * @param {readonly string[]} tests programs
 */
async function runCases({ env, signal }, emulator, tests) {
  let [passed, failed] = [0, 0];
  for (const { processor, set, status } of cases) {
    for (const test of tests) {
      const args = ['-cpu', processor, test, '--set', set];
      const finished = await run(emulator, args, { env, signal, timeoutMs: testTimeoutMs });
      const ok = finished.code === status;
      const what = `${basename(test)} --set ${set} on ${processor}`;
      const how = finished.signal ?? `exit status ${finished.code}, not ${status}`;
      const detail = ok ? '' : `: ${how}\n${lastLines(finished, 20).join('\n')}`;
      process.stdout.write(`${ok ? 'passed' : 'FAILED'}: ${what}${detail}\n`);
      if (ok) passed++;
      else failed++;
    }
  }
  return { passed, failed };
}

async function main() {
  const controller = new AbortController();
  process.once('SIGINT', () => controller.abort());
  process.once('SIGTERM', () => controller.abort());
  const machine = { env: process.env, platform: 'linux', arch: 'arm64', release: '' };
  const context = createContext({ root, signal: controller.signal, machine });
  const command = findProgram('aarch64-linux-gnu-g++', process.env);
  const emulator = findProgram('qemu-aarch64', process.env);
  if (command === undefined || emulator === undefined) {
    process.stdout.write('skipped: needs the packages qemu-user and g++-aarch64-linux-gnu\n');
    return { passed: 0, failed: 0 };
  }
  const version = await run(command, ['--version'], { env: process.env });
  const compiler = { command, args: [], identity: version.stdout.split('\n')[0] ?? '' };
  const tests = await buildKernelTests(context, compiler);
  if (tests.length === 0) throw new Error('native/test holds no kernel test');
  return runCases(context, emulator, tests);
}

try {
  const { passed, failed } = await main();
  process.stdout.write(`${passed} passed, ${failed} failed\n`);
  process.exitCode = failed === 0 ? 0 : 1;
} catch (error) {
  process.stderr.write(`${explain(error)}\n0 passed, 1 failed\n`);
  process.exitCode = 1;
}
