#!/usr/bin/env node
// `npm run chaos -- …`: builds the product and chaos/, and runs the latter in a network namespace
// of its own where that can be had (Linux, as root): there packets can be dropped without anybody
// else noticing. Its standard output is the report; progress goes to standard error.
import { spawn, spawnSync } from 'node:child_process';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));

/**
 * @param {string} program
 * @param {string[]} args
 * @param {'inherit' | 2} output where its standard output goes
 * @param {Record<string, string>} environment
 * @returns {Promise<number>} its exit status
 */
function run(program, args, output, environment = {}) {
  return new Promise((resolve) => {
    const env = { ...process.env, CIDERY_ROOT: root, ...environment };
    const child = spawn(program, args, { stdio: ['ignore', output, 'inherit'], env });
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

const args = process.argv.slice(2);
const tsc = join(root, 'node_modules/typescript/bin/tsc');
const launcher = join(root, 'bin/cidery');
const script = join(root, 'build/chaos/chaos/main.js');
// The model is fetched where there is a network.
const steps = [
  [join(root, 'scripts/setup.mjs')],
  [tsc, '-p', join(root, 'chaos/tsconfig.json')],
  [launcher, 'pull', 'smollm2:135m'],
];
let status = 0;
for (const step of steps) status ||= await run(process.execPath, step, 2);
const isolated = spawnSync('unshare', ['-n', 'ip', 'link', 'set', 'lo', 'up']).status === 0;
if (status !== 0) process.exitCode = status;
else if (isolated) {
  const command = 'ip link set lo up && exec "$@"';
  const inside = ['-n', 'sh', '-c', command, 'sh', process.execPath, script, ...args];
  process.exitCode = await run('unshare', inside, 'inherit', { CIDERY_CHAOS_ISOLATED: '1' });
} else process.exitCode = await run(process.execPath, [script, ...args], 'inherit');
