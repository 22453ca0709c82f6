#!/usr/bin/env node
// `npm run bench -- NAME`: builds the product and bench/ and runs the latter, whose standard output
// is the report. Progress goes to standard error.
import { spawnSync } from 'node:child_process';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));

/**
 * Runs a script of Node's; its output is progress.
 * @param {string[]} args
 * @returns {boolean} whether it ended well
 */
function run(args) {
  const { status } = spawnSync(process.execPath, args, { cwd: root, stdio: ['ignore', 2, 2] });
  return status === 0;
}

const built =
  run([join(root, 'scripts/setup.mjs')]) &&
  run([join(root, 'node_modules/typescript/bin/tsc'), '-p', join(root, 'bench/tsconfig.json')]);
if (built) {
  const script = join(root, 'build/bench/bench/main.js');
  const { status, signal } = spawnSync(process.execPath, [script, ...process.argv.slice(2)], {
    stdio: 'inherit',
    env: { ...process.env, CIDERY_ROOT: root },
  });
  process.exitCode = signal === null ? (status ?? 1) : 130;
} else {
  process.exitCode = 1;
}
