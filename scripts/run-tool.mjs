import { spawn } from 'node:child_process';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The project's root. */
export const root = dirname(dirname(fileURLToPath(import.meta.url)));

/**
 * Runs a command to its end; a signal to this process goes to it.
 * @param {readonly string[]} command program and arguments
 * @param {'inherit' | 2} output where its standard output goes
 * @param {Record<string, string>} [environment]
 * @returns {Promise<number>} its exit status
 */
function run([program = '', ...args], output, environment = {}) {
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

/**
 * Builds the product and a folder of tools, runs `before`, and then FOLDER/main.ts with this
 * process's arguments: its standard output is the report. All else goes to standard error.
 * @param {string} folder
 * @param {readonly (readonly string[])[]} [before] further scripts with their arguments
 * @param {{wrap: readonly string[], environment: Record<string, string>}} [place] what the last
 *   command is started by, and with
 */
export async function runTool(folder, before = [], place = { wrap: [], environment: {} }) {
  const tsc = join(root, 'node_modules/typescript/bin/tsc');
  const steps = [
    [join(root, 'scripts/setup.mjs')],
    [tsc, '-p', join(root, folder, 'tsconfig.json')],
    ...before,
  ];
  let status = 0;
  for (const step of steps) status ||= await run([process.execPath, ...step], 2);
  const script = join(root, 'build', folder, folder, 'main.js');
  const command = [...place.wrap, process.execPath, script, ...process.argv.slice(2)];
  status ||= await run(command, 'inherit', place.environment);
  process.exitCode = status;
}
