#!/usr/bin/env node
// `npm test`: types, lint, format, dead code and then the tests. What stands behind `npm test --`
// goes to vitest, and only the tests run; `--no-checks` leaves the checks out, too. The last line
// is `N passed, N failed`; each check counts as one.
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** @typedef {{ passed: number, failed: string[], skipped: string[] }} Outcome */
/**
 * vitest's JSON report, as far as it is read here.
 * @typedef {object} Report
 * @property {{ name: string, status: string, message?: string,
 *   assertionResults: { fullName: string, status: string }[] }[]} testResults
 */

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const checks = [
  ['types', 'tsc', '--noEmit'],
  ['types of the page', 'tsc', '--noEmit', '-p', 'dashboard'],
  ['lint', 'oxlint', '--type-aware'],
  ['format', 'biome', 'format', '.'],
  ['dead code', 'knip'],
];

/**
 * Runs a program of node_modules with its output as it comes.
 * @param {string} name
 * @param {readonly string[]} args
 * @returns {Promise<number>} its exit status; 1 where a signal ended it or it could not start
 */
function runTool(name, args) {
  const path = `${join(root, 'node_modules/.bin')}${delimiter}${process.env['PATH']}`;
  return new Promise((resolve) => {
    const env = { ...process.env, PATH: path };
    const child = spawn(name, args, { cwd: root, stdio: ['ignore', 'inherit', 'inherit'], env });
    // A signal to this process alone would leave the tests running.
    const end = () => child.kill('SIGTERM');
    process.once('SIGTERM', end);
    child.once('error', (error) => {
      process.stderr.write(`${name}: ${error.message}\n`);
      resolve(1);
    });
    child.once('close', (code) => {
      process.off('SIGTERM', end);
      resolve(code ?? 1);
    });
  });
}

/** @returns {Promise<Outcome>} */
async function runChecks() {
  /** @type {Outcome} */
  const outcome = { passed: 0, failed: [], skipped: [] };
  for (const [title = '', name = '', ...args] of checks) {
    process.stdout.write(`== ${title}: ${[name, ...args].join(' ')}\n`);
    if ((await runTool(name, args)) === 0) outcome.passed++;
    else outcome.failed.push(title);
  }
  return outcome;
}

/**
 * @param {readonly string[]} args
 * @returns {Promise<Outcome>}
 */
async function runTests(args) {
  const folder = mkdtempSync(join(tmpdir(), 'cidery-test-'));
  const file = join(folder, 'report.json');
  try {
    const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${file}`];
    process.stdout.write(`== tests: vitest run ${args.join(' ')}\n`);
    const status = await runTool('vitest', ['run', ...reporters, ...args]);
    return readReport(file, status);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/**
 * @param {string} file
 * @param {number} status of vitest
 * @returns {Outcome}
 */
function readReport(file, status) {
  /** @type {Report} */
  let report;
  try {
    report = JSON.parse(readFileSync(file, 'utf8'));
  } catch {
    return { passed: 0, failed: ['vitest wrote no report'], skipped: [] };
  }
  /** @type {Outcome} */
  const outcome = { passed: 0, failed: [], skipped: [] };
  for (const { name, status: suite, message, assertionResults } of report.testResults) {
    const before = outcome.failed.length;
    for (const { fullName, status: test } of assertionResults) {
      if (test === 'passed') outcome.passed++;
      else if (test === 'failed') outcome.failed.push(`${name}: ${fullName}`);
      else outcome.skipped.push(`${name}: ${fullName}`);
    }
    // A file that failed outside of its tests: it could not be read, or a hook threw.
    if (suite === 'failed' && outcome.failed.length === before) {
      outcome.failed.push(`${name}: ${message ?? ''}`);
    }
  }
  if (outcome.passed + outcome.failed.length === 0) outcome.failed.push('no test ran');
  if (status !== 0 && outcome.failed.length === 0) {
    outcome.failed.push(`vitest ended with status ${status}: an error outside of any test`);
  }
  return outcome;
}

const args = process.argv.slice(2);
const noChecks = args[0] === '--no-checks';
const testArgs = noChecks ? args.slice(1) : args;
/** @type {Outcome[]} */
const outcomes = [];
if (noChecks || testArgs.length > 0) {
  process.stdout.write('not run, as arguments were given: types, lint, format, dead code\n');
} else {
  outcomes.push(await runChecks());
}
outcomes.push(await runTests(testArgs));

const failed = outcomes.flatMap((outcome) => outcome.failed);
const skipped = outcomes.flatMap((outcome) => outcome.skipped);
const passed = outcomes.reduce((sum, outcome) => sum + outcome.passed, 0);
for (const name of skipped) process.stdout.write(`skipped: ${name}\n`);
for (const name of failed) process.stdout.write(`FAILED: ${name}\n`);
process.stdout.write(`${passed} passed, ${failed.length} failed\n`);
process.exitCode = failed.length === 0 ? 0 : 1;
