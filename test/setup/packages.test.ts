import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { explain } from '../../scripts/setup/error.mjs';
import { installPackages, packagesAreInstalled } from '../../scripts/setup/packages.mjs';
import { Sandbox } from './sandbox.ts';

const lock = (version: string) =>
  JSON.stringify({
    lockfileVersion: 3,
    packages: {
      '': {},
      'node_modules/a': { version },
      'node_modules/other-platform': { version: '1.0.0', optional: true },
    },
  });

let sandbox: Sandbox;
beforeEach(() => {
  sandbox = new Sandbox();
  sandbox.write('package/package-lock.json', lock('1.0.0'));
});
afterEach(() => rmSync(sandbox.folder, { recursive: true, force: true }));

/** An environment whose npm is a script, run in the package's folder. */
function withNpm(script: string): NodeJS.ProcessEnv {
  const text = `#!/bin/sh\necho "$*" >> ${sandbox.folder}/calls\n${script}\n`;
  const path = sandbox.program('npm', 'npm', text);
  return sandbox.environment({ PATH: `${path}:/usr/bin:/bin` });
}
const honest = 'mkdir -p node_modules/a && echo "{}" > node_modules/a/package.json';
const calls = () => readFileSync(join(sandbox.folder, 'calls'), 'utf8').trim().split('\n');

const failure = (promise: Promise<unknown>) =>
  promise.then(
    () => expect.unreachable(),
    (error: unknown) => explain(error),
  );

describe('installPackages', () => {
  it('installs from the lockfile once, everything included', async () => {
    const context = sandbox.context(withNpm(honest));
    expect(packagesAreInstalled(context)).toBe(false);
    await installPackages(context);
    expect(packagesAreInstalled(context)).toBe(true);
    expect(calls()).toEqual([expect.stringMatching(/^ci --include=dev --include=optional/u)]);
  });

  it('notices a changed lockfile and a package that is gone', async () => {
    const context = sandbox.context(withNpm(honest));
    await installPackages(context);
    sandbox.write('package/package-lock.json', lock('2.0.0'));
    expect(packagesAreInstalled(context)).toBe(false);
    await installPackages(context);
    expect(packagesAreInstalled(context)).toBe(true);
    rmSync(join(sandbox.root, 'node_modules/a'), { recursive: true });
    expect(packagesAreInstalled(context)).toBe(false);
    await installPackages(context);
    expect(calls()).toHaveLength(3);
  });

  it('keeps what somebody installed by hand, if it is what the lockfile says', async () => {
    const context = sandbox.context(withNpm('exit 1'));
    mkdirSync(join(sandbox.root, 'node_modules/a'), { recursive: true });
    sandbox.write('package/node_modules/a/package.json', '{}');
    const installed = { 'node_modules/a': { version: '1.0.0' } };
    const note = 'package/node_modules/.package-lock.json';
    sandbox.write(note, JSON.stringify({ packages: installed }));
    await installPackages(context);
    expect(packagesAreInstalled(context)).toBe(true);
    expect(existsSync(join(sandbox.folder, 'calls'))).toBe(false);
    rmSync(join(sandbox.root, 'node_modules/.cidery-lock-hash'));
    const more = { ...installed, 'node_modules/b': { version: '1.0.0' } };
    sandbox.write(note, JSON.stringify({ packages: more }));
    await expect(installPackages(context)).rejects.toThrow();
  });

  it.each([
    ['offline', 'echo "npm error code EAI_AGAIN"; exit 1', /^npm could not reach its registry: /u],
    ['a full disk', 'echo "npm error nospc ENOSPC"; exit 1', /^the disk is full: free/u],
    ['another failure', 'echo "npm error what"; exit 1', /^`npm ci` failed: what npm said/u],
    ['a package left out', 'true', /^npm did not install node_modules\/a: run/u],
  ])('says what is wrong: %s; then the next try works', async (_, script, message) => {
    expect(await failure(installPackages(sandbox.context(withNpm(script))))).toMatch(message);
    const context = sandbox.context(withNpm(honest));
    expect(packagesAreInstalled(context)).toBe(false);
    await installPackages(context);
    expect(packagesAreInstalled(context)).toBe(true);
  });

  it('says that npm is missing', async () => {
    const context = sandbox.context(sandbox.environment({ PATH: sandbox.folder }));
    expect(await failure(installPackages(context))).toMatch(
      /^npm was not found: .*apt install npm/u,
    );
  });
});
