import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { chmodSync, chownSync, existsSync, rmSync, statSync, symlinkSync } from 'node:fs';
import { truncateSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { explain } from '../../scripts/setup/error.mjs';
import { setUp } from '../../scripts/setup/main.mjs';
import { parseDependencies } from '../../scripts/setup/objects.mjs';
import { Sandbox } from './sandbox.ts';

let sandbox: Sandbox;
let env: NodeJS.ProcessEnv;
beforeEach(() => {
  sandbox = new Sandbox();
  env = sandbox.environment({ CIDERY_MLX: sandbox.standInMlx() });
});
afterEach(() => rmSync(sandbox.folder, { recursive: true, force: true }));

const build = (path: string) =>
  join(sandbox.root, 'build', `${process.platform}-${process.arch}`, path);
const madeAt = (path: string) => statSync(build(path)).mtimeMs;
const again = () => setUp(sandbox.options(env));

/** What an addon answers when it is loaded. */
function answer(addon: 'cpu' | 'mlx'): string {
  const script =
    'const m = { exports: {} }; process.dlopen(m, process.argv[1]); console.log(m.exports.answer)';
  const path = build(`cidery_${addon}.node`);
  return execFileSync(process.execPath, ['-e', script, path], { encoding: 'utf8' }).trim();
}

/** A `c++` that does something before it compiles; returns the PATH that finds it. */
function withCompiler(script: string): NodeJS.ProcessEnv {
  const real = execFileSync('sh', ['-c', 'command -v c++'], { encoding: 'utf8' }).trim();
  const wrapper = `#!/bin/sh\n${script}\nexec ${real} "$@"\n`;
  const folder = sandbox.program('compiler', 'c++', wrapper);
  return { ...env, PATH: `${folder}:${env['PATH']}` };
}

const failure = (promise: Promise<unknown>) =>
  promise.then(
    () => expect.unreachable(),
    (error: unknown) => explain(error),
  );

describe('setUp', () => {
  it('builds both addons, and then has nothing to do or to say', async () => {
    expect(await again()).toEqual(['addon cpu', 'addon mlx']);
    expect([answer('cpu'), answer('mlx')]).toEqual(['40', '41']);
    expect(existsSync(build('tmp/probe.cpp'))).toBe(false);
    expect(existsSync(join(sandbox.root, 'build/setup.lock'))).toBe(false);
    sandbox.output.length = 0;
    expect(await again()).toEqual([]);
    expect(sandbox.output).toEqual([]);
  });

  it('compiles only what a change touches', async () => {
    await again();
    const alone = madeAt('objects/common/base/alone.cpp.o');
    const face = madeAt('objects/mlx/addon/module.cpp.o');
    sandbox.write('package/native/base/answer.cpp', 'int answer() { return 50; }\n');
    expect(await again()).toEqual(['addon cpu', 'addon mlx']);
    expect([answer('cpu'), answer('mlx')]).toEqual(['50', '51']);
    expect(madeAt('objects/mlx/addon/module.cpp.o')).toBe(face);
    sandbox.write('package/native/base/answer.h', 'int answer();\n// changed\n');
    await again();
    expect(madeAt('objects/mlx/addon/module.cpp.o')).not.toBe(face);
    expect(madeAt('objects/common/base/alone.cpp.o')).toBe(alone);
  });

  it('links without a file that was removed', async () => {
    await again();
    rmSync(join(sandbox.root, 'native/base/answer.cpp'));
    expect(await failure(again())).toMatch(/cidery_cpu.node.* cannot be loaded .*answer/u);
  });

  it('mends what is damaged', async () => {
    await again();
    truncateSync(build('cidery_cpu.node'), 100);
    truncateSync(build('objects/common/base/answer.cpp.o.json'), 5);
    rmSync(build('objects/cpu/addon/module.cpp.o'));
    expect(await again()).toEqual(['addon cpu']);
    expect(answer('cpu')).toBe('40');
  });

  it('serves on without the compiler that built it', async () => {
    await again();
    env = { ...env, PATH: sandbox.folder };
    expect(await again()).toEqual([]);
  });

  it('says which compiler to install, and works once it is there', async () => {
    const options = sandbox.options({ ...env, PATH: sandbox.folder });
    const on = (platform: string) =>
      failure(setUp({ ...options, machine: { ...options.machine, platform } }));
    expect(await on('linux')).toMatch(/^no C\+\+ compiler was found: run `apt install g\+\+`/u);
    expect(await on('darwin')).toMatch(/^no C\+\+ compiler was found: run `xcode-select/u);
    const wrong = setUp(sandbox.options({ ...env, CXX: 'no-such-compiler' }));
    expect(await failure(wrong)).toMatch(/^CXX names no-such-compiler, which does not run: /u);
    expect(await again()).toEqual(['addon cpu', 'addon mlx']);
  });

  it('shows what does not compile, and works once it is mended', async () => {
    sandbox.write('package/native/base/alone.cpp', 'int alone() { return it; }\n');
    expect(await failure(again())).toMatch(/^native\/base\/alone.cpp does not compile: /u);
    expect(sandbox.output.join('')).toMatch(/'it' was not declared|undeclared identifier 'it'/u);
    sandbox.write('package/native/base/alone.cpp', 'int alone() { return 1; }\n');
    expect(await again()).toEqual(['addon cpu', 'addon mlx']);
  });

  it('tells a compiler that is too old, or killed, from a mistake in the code', async () => {
    const old = withCompiler('case "$*" in *-c*|*syntax*) exit 1 ;; esac');
    const message = await failure(setUp(sandbox.options(old)));
    expect(message).toMatch(/^this compiler does not know C\+\+20.*: run/u);
    const killed = withCompiler('case "$*" in *-c*) kill -9 $$ ;; esac');
    expect(await failure(setUp(sandbox.options(killed)))).toMatch(/was ended.*: free some memory/u);
    const full = withCompiler(
      'case "$*" in *-c*) echo "No space left on device" >&2; exit 1 ;; esac',
    );
    expect(await failure(setUp(sandbox.options(full)))).toMatch(/^the disk is full: /u);
  });

  it('refuses a CIDERY_MLX without MLX', async () => {
    env = { ...env, CIDERY_MLX: sandbox.folder };
    expect(await failure(again())).toMatch(/names a folder without MLX: .*mlx\.h does not exist/u);
  });
});

describe('interrupted', () => {
  const slow = 'case "$*" in *alone*) sleep 2 ;; esac';

  /** Runs the set-up as a process until it compiles, then sends it a signal. */
  async function interrupt(signal: NodeJS.Signals) {
    const child = spawn(process.execPath, [join(sandbox.root, 'scripts/setup.mjs')], {
      env: withCompiler(slow),
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    let said = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => (said += text));
    while (!said.includes('building the cpu addon')) await sleep(10);
    child.kill(signal);
    const code = await new Promise((resolve) => child.once('exit', resolve));
    return { code, said };
  }

  it('by Ctrl-C says so, ends with 130, and goes on the next time', async () => {
    const { code, said } = await interrupt('SIGINT');
    expect(code).toBe(130);
    expect(said).toContain('set-up failed: interrupted; the next set-up goes on from here');
    expect(existsSync(join(sandbox.root, 'build/setup.lock'))).toBe(false);
    expect(await again()).toEqual(['addon cpu', 'addon mlx']);
    expect(answer('mlx')).toBe('41');
  });

  it('by SIGKILL leaves nothing that the next one stumbles over', async () => {
    expect((await interrupt('SIGKILL')).code).toBe(null);
    expect(existsSync(join(sandbox.root, 'build/setup.lock'))).toBe(true);
    expect(await again()).toEqual(['addon cpu', 'addon mlx']);
    expect(answer('mlx')).toBe('41');
  });
});

describe('bin/cidery', () => {
  const nobody = 65_534;
  const cidery = (path: string, extra: NodeJS.ProcessEnv = {}) =>
    spawnSync(path, ['a', 'b'], { env: { ...env, ...extra }, encoding: 'utf8' });

  it('sets up once, through a link, and hands on its arguments', () => {
    const link = join(sandbox.folder, 'linked');
    symlinkSync(join(sandbox.root, 'bin/cidery'), link);
    const first = cidery(link);
    expect([first.stdout, first.status]).toEqual(['ran a b\n', 0]);
    expect(first.stderr).toContain('building the mlx addon');
    const second = cidery(link);
    expect([second.stdout, second.stderr, second.status]).toEqual(['ran a b\n', '', 0]);
    sandbox.write('package/native/base/alone.cpp', 'int alone() { return 2; }\n');
    expect(cidery(link).stderr).toContain('building the cpu addon');
  });

  it('does not start what could not be set up', () => {
    const node = join(process.execPath, '..');
    const path = sandbox.program('only-node', 'node', `#!/bin/sh\nexec ${node}/node "$@"\n`);
    const { stdout, stderr, status } = cidery(join(sandbox.root, 'bin/cidery'), { PATH: path });
    expect([stdout, status]).toEqual(['', 1]);
    expect(stderr).toMatch(/^set-up failed: no C\+\+ compiler was found: run /u);
  });

  it('tells a Node that is too old', () => {
    sandbox.write('package/package.json', '{"type":"module","engines":{"node":">=99.1"}}');
    const { stderr, status } = cidery(join(sandbox.root, 'bin/cidery'));
    expect(stderr).toMatch(/^cidery needs Node 99.1 or newer and this is \d+/u);
    expect(status).toBe(1);
  });

  it('builds in the cache where its package is closed', () => {
    const script = 'console.log(process.env.CIDERY_ADDONS ?? "usual");';
    sandbox.write('package/dist/cli/main.js', script);
    // Root may write anywhere, so there it is run as nobody, who owns the cache only.
    const asNobody = process.getuid?.() === 0 ? { uid: nobody, gid: nobody } : {};
    for (const folder of [sandbox.folder, sandbox.root]) chmodSync(folder, 0o555);
    if ('uid' in asNobody) chownSync(sandbox.cache, nobody, nobody);
    const path = join(sandbox.root, 'bin/cidery');
    const run = () => spawnSync(path, { env, encoding: 'utf8', ...asNobody });
    const [first, second] = [run(), run()];
    for (const folder of [sandbox.folder, sandbox.root]) chmodSync(folder, 0o755);
    expect(first.stderr).toContain('building the mlx addon');
    expect([first.status, second.status, second.stderr]).toEqual([0, 0, '']);
    const built = second.stdout.trim();
    expect(built.startsWith(join(sandbox.cache, 'build'))).toBe(true);
    expect(existsSync(join(built, 'cidery_cpu.node'))).toBe(true);
    expect(existsSync(join(sandbox.root, 'build'))).toBe(false);
  });
});

describe('parseDependencies', () => {
  it('reads what a compiler writes', () => {
    const rule = 'a.o: native/x.cpp \\\n  native/with\\ space.h \\\n native/x.cpp\n';
    expect(parseDependencies(rule)).toEqual(['native/with space.h', 'native/x.cpp']);
    expect(parseDependencies('')).toEqual([]);
  });
});
