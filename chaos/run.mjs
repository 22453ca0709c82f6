#!/usr/bin/env node
// `npm run chaos -- …`: builds the product and chaos/ and runs the latter, whose standard output is
// the report. Progress goes to standard error.
import { spawn } from 'node:child_process';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));

/**
 * Runs a script of Node's to its end; a signal to this process goes to it.
 * @param {string[]} args
 * @param {'inherit' | 2} output where its standard output goes
 * @returns {Promise<number>} its exit status
 */
function run(args, output) {
  return new Promise((resolve) => {
    const env = { ...process.env, CIDERY_ROOT: root };
    const child = spawn(process.execPath, args, { stdio: ['ignore', output, 'inherit'], env });
    const end = () => child.kill('SIGTERM');
    process.once('SIGTERM', end);
    process.once('SIGINT', end);
    child.once('error', () => resolve(1));
    child.once('close', (status) => {
      process.off('SIGTERM', end);
      process.off('SIGINT', end);
      resolve(status ?? 130);
    });
  });
}

const tsc = join(root, 'node_modules/typescript/bin/tsc');
const steps = [
  [join(root, 'scripts/setup.mjs')],
  [tsc, '-p', join(root, 'chaos/tsconfig.json')],
  [join(root, 'bin/cidery'), 'pull', 'smollm2:135m'],
];
let status = 0;
for (const step of steps) status ||= await run(step, 2);
const script = join(root, 'build/chaos/chaos/main.js');
status ||= await run([script, ...process.argv.slice(2)], 'inherit');
process.exitCode = status;
