#!/usr/bin/env node
// Does what a fresh clone needs before it runs: `setUp` in setup/main.mjs, as a command.
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { nodeTooOld } from './setup/node-version.mjs';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const known = ['--for-tests', '--dist'];
const args = process.argv.slice(2);
const unknown = args.filter((arg) => !known.includes(arg));
const tooOld = nodeTooOld(root, process.versions.node);
if (unknown.length > 0) {
  process.stderr.write(`unknown: ${unknown.join(' ')}\nusage: setup.mjs [--for-tests] [--dist]\n`);
  process.exitCode = 2;
} else if (tooOld !== undefined) {
  process.stderr.write(`${tooOld}\n`);
  process.exitCode = 1;
} else {
  const { setUpAsCommand } = await import('./setup/main.mjs');
  const forTests = args.includes('--for-tests');
  process.exitCode = await setUpAsCommand({ root, forTests, onlyDist: args.includes('--dist') });
}
