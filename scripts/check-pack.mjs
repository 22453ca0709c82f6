#!/usr/bin/env node
// Packs cidery as npm would publish it, installs the package into an empty folder and runs its
// command with the arguments given (by default `--version`), twice: the first call compiles.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { explain } from './setup/error.mjs';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
/** What a package must bring, and a sample of what must stay at home. */
const wanted = ['bin/cidery', 'dist/cli/main.js', 'scripts/setup/main.mjs', 'native/addon/'];
const unwanted = [/^src\//u, /^test\//u, /\.test\./u, /_test\.cpp$/u, /^\.ci\//u, /^build\//u];

/**
 * @param {string} command
 * @param {readonly string[]} args
 * @param {string} cwd
 * @returns {string} its standard output
 */
function call(command, args, cwd) {
  const finished = spawnSync(command, args, {
    cwd,
    stdio: ['ignore', 'pipe', 'inherit'],
    encoding: 'utf8',
  });
  if (finished.status === 0) return finished.stdout;
  const how = finished.error?.message ?? `exit status ${finished.status ?? finished.signal}`;
  throw new Error(`${command} ${args.join(' ')}: ${how}\n${finished.stdout ?? ''}`);
}

/**
 * @param {string} folder
 * @param {readonly string[]} args of cidery
 */
function check(folder, args) {
  const output = call('npm', ['pack', '--json', '--pack-destination', folder], root);
  // Scripts that npm runs before it packs may print above the JSON.
  const [packed] = JSON.parse(output.slice(output.search(/^\[/mu)));
  /** @type {string[]} */
  const paths = packed.files.map((/** @type {{ path: string }} */ file) => file.path);
  const missing = wanted.filter((start) => !paths.some((path) => path.startsWith(start)));
  const extra = paths.filter((path) => unwanted.some((pattern) => pattern.test(path)));
  if (missing.length > 0) throw new Error(`the package lacks ${missing.join(', ')}`);
  if (extra.length > 0) throw new Error(`the package holds ${extra.slice(0, 5).join(', ')}`);
  const tarball = readdirSync(folder).find((name) => name.endsWith('.tgz'));
  if (tarball === undefined) throw new Error('npm pack wrote no package');
  const home = mkdtempSync(join(folder, 'installed-'));
  writeFileSync(join(home, 'package.json'), '{"private":true}');
  const install = ['install', '--prefer-offline', '--omit=dev', '--no-audit', '--no-fund'];
  call('npm', [...install, join(folder, tarball)], home);
  const cidery = join(home, 'node_modules/.bin/cidery');
  const first = call(cidery, args, home);
  const second = call(cidery, args, home);
  if (first === '' || first !== second) {
    throw new Error(`cidery ${args.join(' ')} printed\n${first}\nand then\n${second}`);
  }
  const { size } = packed;
  process.stdout.write(`${packed.name} ${packed.version}: ${paths.length} files, ${size} bytes\n`);
  process.stdout.write(first);
}

const folder = mkdtempSync(join(tmpdir(), 'cidery-pack-'));
const args = process.argv.slice(2);
let failed = 0;
try {
  check(folder, args.length > 0 ? args : ['--version']);
} catch (error) {
  process.stderr.write(`check-pack failed: ${explain(error)}\n`);
  failed = 1;
} finally {
  rmSync(folder, { recursive: true, force: true });
}
process.stdout.write(`${1 - failed} passed, ${failed} failed\n`);
process.exitCode = failed;
