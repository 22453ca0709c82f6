import { readFileSync } from 'node:fs';
import { join } from 'node:path';

// Imported before everything else, also by a Node that is too old for the rest: nothing new here.

/**
 * What to tell a person whose Node is older than package.json asks for; undefined where it will do.
 * @param {string} root
 * @param {string} version such as 20.19.1
 */
export function nodeTooOld(root, version) {
  const { engines } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  const needed = String(engines.node).replace('>=', '');
  const [wantedMajor = 0, wantedMinor = 0] = needed.split('.').map(Number);
  const [major = 0, minor = 0] = version.split('.').map(Number);
  if (major > wantedMajor || (major === wantedMajor && minor >= wantedMinor)) return undefined;
  return `cidery needs Node ${needed} or newer and this is ${version}: install a newer Node`;
}
