import { spawn } from 'node:child_process';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The project's root. */
export const root = dirname(dirname(fileURLToPath(import.meta.url)));

/**
 * Runs a script of Node's to its end; a signal to this process goes to it.
 * @param {readonly string[]} args
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

/**
 * Builds the product and a folder of tools, runs `before`, and then FOLDER/main.ts with this
 * process's arguments: its standard output is the report. All else goes to standard error.
 * @param {string} folder
 * @param {readonly (readonly string[])[]} [before] further scripts with their arguments
 */
export async function runTool(folder, before = []) {
  const tsc = join(root, 'node_modules/typescript/bin/tsc');
  const steps = [
    [join(root, 'scripts/setup.mjs')],
    [tsc, '-p', join(root, folder, 'tsconfig.json')],
    ...before,
  ];
  let status = 0;
  for (const step of steps) status ||= await run(step, 2);
  const script = join(root, 'build', folder, folder, 'main.js');
  status ||= await run([script, ...process.argv.slice(2)], 'inherit');
  process.exitCode = status;
}
