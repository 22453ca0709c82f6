import { existsSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fingerprintName, isCheckout, neededAddons } from './context.mjs';
import { textIfThere } from './hash.mjs';

/** @typedef {import('./context.mjs').Machine} Machine */

/** What of a checkout the set-up reads. */
const checkoutInputs = ['src', 'native', 'scripts/setup'];
const checkoutFiles = ['package-lock.json', 'tsconfig.json'];
/** An installed package does not change; its version says what it is. */
const packageInputs = ['native'];

/**
 * A cheap mark of everything that the set-up reads: names, sizes and times of files. A launcher
 * compares it with the one of the last set-up and runs the set-up, which looks at contents, only
 * where they differ.
 * @param {string} root
 * @param {Machine} machine
 */
export function fingerprint(root, machine) {
  const checkout = isCheckout(root);
  const lines = [`${machine.platform} ${machine.arch} ${machine.env['CIDERY_MLX'] ?? ''}`];
  for (const folder of checkout ? checkoutInputs : packageInputs) addFolder(root, folder, lines);
  for (const path of [...(checkout ? checkoutFiles : []), 'package.json']) {
    addFile(join(root, path), path, lines);
  }
  return lines.join('\n');
}

/**
 * Whether the last set-up finished with the files as they are now, and what it made is there.
 * @param {string} root
 * @param {string} build
 * @param {Machine} machine
 * @public bin/cidery calls it
 */
export function isSetUp(root, build, machine) {
  const addons = neededAddons(machine, false).map((name) => join(build, `cidery_${name}.node`));
  const made = [join(root, 'dist/cli/main.js'), ...addons];
  if (isCheckout(root)) made.push(join(root, 'node_modules/.cidery-lock-hash'));
  if (!made.every((path) => existsSync(path))) return false;
  return textIfThere(join(build, fingerprintName)) === fingerprint(root, machine);
}

/**
 * @param {string} root
 * @param {string} folder
 * @param {string[]} lines
 */
function addFolder(root, folder, lines) {
  const path = join(root, folder);
  if (!existsSync(path)) return;
  const entries = readdirSync(path, { withFileTypes: true, recursive: true });
  for (const entry of entries) {
    if (entry.isFile() && !entry.name.endsWith('.test.ts')) {
      addFile(join(entry.parentPath, entry.name), join(entry.parentPath, entry.name), lines);
    }
  }
}

/**
 * @param {string} path
 * @param {string} name
 * @param {string[]} lines
 */
function addFile(path, name, lines) {
  const stat = statSync(path, { throwIfNoEntry: false });
  lines.push(`${name} ${stat?.size} ${stat?.mtimeMs}`);
}
