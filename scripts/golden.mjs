#!/usr/bin/env node
// Makes the goldens of test/golden with mlx-lm in an environment of its own, or checks them.
//   npm run golden                      makes all tiny models and blocks
//   npm run golden -- --check           makes them elsewhere and compares
//   npm run golden -- --only NAME...    makes some
//   npm run golden -- starter|gemma3 FILE.gguf   what mlx-lm says about a real model
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { cacheFolder } from './setup/context.mjs';

const folder = join(dirname(dirname(fileURLToPath(import.meta.url))), 'test/golden');
const requirements = join(folder, 'requirements.txt');

/**
 * Runs a program with our own output.
 * @param {string} command
 * @param {string[]} args
 * @returns {number} its exit status
 */
function run(command, args) {
  // No model or package hub may have a say in what a golden is.
  const env = { ...process.env, HF_HUB_OFFLINE: '1', PYTHONDONTWRITEBYTECODE: '1' };
  const { status, error } = spawnSync(command, args, { stdio: 'inherit', env });
  if (error !== undefined) {
    process.stderr.write(
      `${command} does not run (${error.message}): install Python 3.11 or newer\n`,
    );
    return 1;
  }
  return status ?? 1;
}

/**
 * The Python of the environment that holds exactly the pinned packages, made where it is missing.
 * @returns {string | undefined} nothing where it could not be made, which has been told
 */
function pinnedPython() {
  const venv = join(cacheFolder(process.env), 'golden-venv');
  const python = join(venv, 'bin/python');
  const mark = join(venv, 'requirements.sha256');
  const wanted = createHash('sha256').update(readFileSync(requirements)).digest('hex');
  if (existsSync(mark) && readFileSync(mark, 'utf8') === wanted) return python;
  process.stderr.write(`setting up mlx-lm in ${venv} (about 360 MB)\n`);
  rmSync(venv, { recursive: true, force: true });
  mkdirSync(dirname(venv), { recursive: true });
  if (run('python3', ['-m', 'venv', venv]) !== 0) {
    process.stderr.write(
      'no environment: install python3-venv (Debian: `apt install python3-venv`)\n',
    );
    return undefined;
  }
  const install = ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check'];
  if (run(python, [...install, '-r', requirements]) !== 0) return undefined;
  // Last, so that an interrupted set-up starts anew.
  writeFileSync(mark, wanted);
  return python;
}

/** @returns {number} the exit status */
function main() {
  const args = process.argv.slice(2);
  const python = pinnedPython();
  if (python === undefined) return 1;
  if (args[0] === 'starter' || args[0] === 'gemma3') {
    return run(python, [join(folder, 'real_models.py'), ...args]);
  }
  const models = run(python, [join(folder, 'make_goldens.py'), ...args]);
  if (args.includes('--only')) return models;
  const blocks = run(python, [join(folder, 'gguf_blocks.py'), ...args]);
  return models === 0 ? blocks : models;
}

process.exitCode = main();
