import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, existsSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { setUp } from '../../scripts/setup/main.mjs';
import { projectRoot, Sandbox } from './sandbox.ts';

let sandbox: Sandbox;
beforeEach(() => {
  sandbox = new Sandbox();
  const script = 'scripts/check-native.mjs';
  cpSync(join(projectRoot, script), join(sandbox.root, script));
  sandbox.write(
    'package/native/base/answer_test.cpp',
    '#include "base/answer.h"\nint main() { return answer() - 40; }\n',
  );
  rmSync(join(sandbox.root, 'native/test/fuzz_it.cpp'));
});
afterEach(() => rmSync(sandbox.folder, { recursive: true, force: true }));

/** `check-native.mjs` under way, with a `c++` that does something first. */
function check(script: string) {
  const real = execFileSync('sh', ['-c', 'command -v c++'], { encoding: 'utf8' }).trim();
  const path = sandbox.program('compiler', 'c++', `#!/bin/sh\n${script}\nexec ${real} "$@"\n`);
  const child = spawn(process.execPath, [join(sandbox.root, 'scripts/check-native.mjs')], {
    env: sandbox.environment({ PATH: `${path}:${process.env['PATH'] ?? ''}` }),
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let said = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => (said += text));
  }
  return once(child, 'close').then(([status]: unknown[]) => ({ status, said }));
}

const passed = { status: 0, said: expect.stringMatching(/\n1 passed, 0 failed\n$/u) };

it('keeps the files of its compiler while a set-up begins', async () => {
  const [begun, goOn] = ['begun', 'go-on'].map((name) => join(sandbox.folder, name));
  const checking = check(`case "$*" in *answer.cpp*)
  touch "$TMPDIR/own" "${begun}"
  until [ -e "${goOn}" ]; do sleep 0.05; done
  rm "$TMPDIR/own" || exit 1
esac`);
  await expect.poll(() => existsSync(begun ?? ''), { timeout: 60_000 }).toBe(true);
  expect(await setUp(sandbox.options(sandbox.environment({ CIDERY_EXECUTOR: 'cpu' })))).toEqual([
    'addon cpu',
  ]);
  writeFileSync(goOn ?? '', '');
  expect(await checking).toEqual(passed);
});

it('waits for another one, whose programs it would write over', async () => {
  const inside = join(sandbox.folder, 'inside');
  // Fails where another compiler of a linked program is at work.
  const script = `case "$*" in *-pthread\\ -o*)
  mkdir "${inside}" || exit 1
  sleep 1
  rmdir "${inside}"
esac`;
  const both = await Promise.all([check(script), check(script)]);
  expect(both).toEqual([passed, passed]);
  expect(both.filter(({ said }) => said.includes('waiting for another check')).length).toBe(1);
});
