import { execFileSync, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, truncateSync } from 'node:fs';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { explain } from '../../scripts/setup/error.mjs';
import { cachedWheelFolder, wheelFolder } from '../../scripts/setup/wheel-cache.mjs';
import { mlxWheel, mlxWheels } from '../../scripts/setup/wheels.mjs';
import { Sandbox } from './sandbox.ts';
import { zipOf } from './zip-writer.ts';

const library = Buffer.from('the library '.repeat(1000));
const archive = zipOf([
  { name: 'mlx/lib/libmlx.so', content: library },
  { name: 'mlx/include/mlx/mlx.h', content: Buffer.from('header') },
]);
const wheel = {
  name: 'mlx-cpu',
  version: '1.2.3',
  platform: 'any_platform',
  sha256: createHash('sha256').update(archive).digest('hex'),
  sizeBytes: archive.length,
};

let sandbox: Sandbox;
beforeEach(() => {
  sandbox = new Sandbox();
});
afterEach(() => rmSync(sandbox.folder, { recursive: true, force: true }));

/** An environment whose only Python package client runs a script where it should download. */
function withClient(download: string): NodeJS.ProcessEnv {
  const script = `#!/bin/sh
case "$*" in *--version*) echo pip 99; exit 0 ;; esac
echo "$*" >> ${sandbox.folder}/calls
while [ "$1" != --dest ]; do shift; done
mkdir -p "$2"
${download}
`;
  const path = sandbox.program('client', 'pip3', script);
  return sandbox.environment({ PATH: `${path}:/usr/bin:/bin`, SHELL: '/bin/sh' });
}

/** An honest client, apart from the Python of the system, which stands in nobody's way. */
function honestClient(content: Buffer = archive): NodeJS.ProcessEnv {
  writeFileSync(join(sandbox.folder, 'real.whl'), content);
  const copy = `cp ${sandbox.folder}/real.whl "$2/mlx_cpu-1.2.3-py3-none-any.whl"`;
  sandbox.program('client', 'python3', '#!/bin/sh\nexit 1\n');
  sandbox.program('client', 'python', '#!/bin/sh\nexit 1\n');
  return withClient(copy);
}

/** A client that does something else. */
function clientThat(download: string): NodeJS.ProcessEnv {
  honestClient();
  return withClient(download);
}

function calls(): string[] {
  const path = join(sandbox.folder, 'calls');
  return existsSync(path) ? readFileSync(path, 'utf8').trim().split('\n') : [];
}

/** What lies in the cache, apart from sound wheels. */
function leftovers(): string[] {
  const wheels = join(sandbox.cache, 'wheels');
  return existsSync(wheels) ? readdirSync(wheels).filter((name) => name.startsWith('.')) : [];
}

const failure = (promise: Promise<unknown>) =>
  promise.then(
    () => expect.unreachable(),
    (error: unknown) => explain(error),
  );

describe('wheelFolder', () => {
  it('fetches once, with everything that pip must not guess', async () => {
    const context = sandbox.context(honestClient());
    const folder = await wheelFolder(context, wheel);
    expect(readFileSync(join(folder, 'mlx/lib/libmlx.so'))).toEqual(library);
    expect(await wheelFolder(context, wheel)).toBe(folder);
    expect(calls()).toHaveLength(1);
    expect(calls()[0]).toContain('--platform any_platform --python-version 3.12');
    expect(calls()[0]).toContain('--only-binary :all:');
    expect(leftovers()).toEqual([]);
  });

  const damages: [title: string, damage: (folder: string) => void][] = [
    ['cut', (folder) => truncateSync(join(folder, 'mlx/lib/libmlx.so'), 10)],
    [
      'of the right size with other bytes',
      (folder) => writeFileSync(join(folder, 'mlx/lib/libmlx.so'), Buffer.alloc(library.length)),
    ],
    ['missing', (folder) => rmSync(join(folder, 'mlx/include/mlx/mlx.h'))],
    ['without its manifest', (folder) => rmSync(join(folder, '.cidery-manifest.json'))],
    ['with half a manifest', (folder) => truncateSync(join(folder, '.cidery-manifest.json'), 20)],
  ];
  it.each(damages)('fetches again what is %s', async (_, damage) => {
    const context = sandbox.context(honestClient());
    damage(await wheelFolder(context, wheel));
    const folder = await wheelFolder(context, wheel);
    expect(readFileSync(join(folder, 'mlx/lib/libmlx.so'))).toEqual(library);
    expect(readFileSync(join(folder, 'mlx/include/mlx/mlx.h'), 'utf8')).toBe('header');
    expect(calls()).toHaveLength(2);
    expect(sandbox.output.join('')).toContain('the cached mlx-cpu is damaged and is fetched again');
    expect(leftovers()).toEqual([]);
  });

  it('takes no wheel with another hash, and works once the right one comes', async () => {
    const changed = Buffer.concat([archive, Buffer.from([0])]);
    const message = await failure(wheelFolder(sandbox.context(honestClient(changed)), wheel));
    expect(message).toMatch(/has the sha256 [0-9a-f]{64}, not [0-9a-f]{64}: .*proxy/u);
    expect(readdirSync(join(sandbox.cache, 'wheels'))).toEqual([]);
    const folder = await wheelFolder(sandbox.context(honestClient()), wheel);
    expect(existsSync(join(folder, 'mlx/lib/libmlx.so'))).toBe(true);
  });

  it('says which package to install where there is no client', async () => {
    const context = sandbox.context(sandbox.environment({ PATH: sandbox.folder }));
    const linux = await failure(wheelFolder({ ...context, platform: 'linux' }, wheel));
    expect(linux).toMatch(/none was found: run `apt install python3-pip`.*CIDERY_MLX/u);
    const mac = await failure(wheelFolder({ ...context, platform: 'darwin' }, wheel));
    expect(mac).toMatch(/none was found: run `xcode-select --install`.*CIDERY_MLX/u);
  });

  it('says what pip said when it is offline, and what to do', async () => {
    const env = clientThat('echo "ERROR: No matching distribution" >&2; exit 1');
    const message = await failure(wheelFolder(sandbox.context(env), wheel));
    expect(message).toBe(
      'pip could not fetch mlx-cpu 1.2.3 for any_platform (ERROR: No matching distribution): ' +
        'check the network connection and try again; without a network, put the wheel into a ' +
        'folder and name that in PIP_FIND_LINKS',
    );
    expect(leftovers()).toEqual([]);
  });

  it('says that the disk is full when pip does', async () => {
    const env = clientThat('echo "OSError: [Errno 28] No space left on device" >&2; exit 2');
    const message = await failure(wheelFolder(sandbox.context(env), wheel));
    expect(message).toMatch(/^the disk is full: free some space/u);
  });

  // Skipped: only root may mount a small disk, and only Linux has tmpfs.
  it.skipIf(process.getuid?.() !== 0 || process.platform !== 'linux' || !mayMount())(
    'says that the disk is full while unpacking, and works when there is room',
    async () => {
      const mount = sandbox.cache;
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', mount]);
      try {
        const large = zipOf([{ name: 'mlx/lib/libmlx.so', content: Buffer.alloc(1 << 20) }]);
        const sha256 = createHash('sha256').update(large).digest('hex');
        const context = sandbox.context(honestClient(large));
        const message = await failure(wheelFolder(context, { ...wheel, sha256 }));
        expect(message).toMatch(/^the disk is full.*: free some space/u);
        expect(leftovers()).toEqual([]);
        execFileSync('mount', ['-o', 'remount,size=8m', mount]);
        const folder = await wheelFolder(context, { ...wheel, sha256 });
        expect(existsSync(join(folder, 'mlx/lib/libmlx.so'))).toBe(true);
      } finally {
        execFileSync('umount', [mount]);
      }
    },
  );

  it('stops when interrupted, ends the client, and works the next time', async () => {
    const controller = new AbortController();
    const env = clientThat(`echo $$ > ${sandbox.folder}/pid; exec sleep 60`);
    const fetching = failure(wheelFolder(sandbox.context(env, controller.signal), wheel));
    while (!existsSync(join(sandbox.folder, 'pid'))) await sleep(10);
    controller.abort();
    expect(await fetching).toMatch(/^interrupted/u);
    const pid = Number(readFileSync(join(sandbox.folder, 'pid'), 'utf8'));
    expect(() => process.kill(pid, 0)).toThrow('ESRCH');
    expect(leftovers()).toEqual([]);
    const folder = await wheelFolder(sandbox.context(honestClient()), wheel);
    expect(existsSync(join(folder, 'mlx/lib/libmlx.so'))).toBe(true);
  });

  it('removes what a killed set-up left, and not what one at work has', async () => {
    const child = spawn('sleep', ['60']);
    const alive = `.staging-${child.pid}-1`;
    // Process ids end at 2^22 on Linux and 99999 on macOS.
    const dead = '.staging-5000000-1';
    for (const name of [alive, dead]) {
      mkdirSync(join(sandbox.cache, 'wheels', name), { recursive: true });
    }
    await wheelFolder(sandbox.context(honestClient()), wheel);
    child.kill();
    expect(leftovers()).toEqual([alive]);
  });

  it('serves several set-ups at once', async () => {
    const env = honestClient();
    const folders = await Promise.all(
      [1, 2, 3].map(async (delay) => {
        await sleep(delay);
        return wheelFolder(sandbox.context(env), wheel);
      }),
    );
    const folder = cachedWheelFolder(sandbox.context(env), wheel);
    expect(folders).toEqual([folder, folder, folder]);
    expect(readFileSync(join(folder, 'mlx/lib/libmlx.so'))).toEqual(library);
    expect(leftovers()).toEqual([]);
  });
});

describe('mlxWheel', () => {
  it.each([
    ['linux', 'x64', '6.1.0-9-amd64', mlxWheels.linuxX64],
    ['linux', 'arm64', '6.1.0', mlxWheels.linuxArm64],
    ['darwin', 'arm64', '22.6.0', undefined],
    ['darwin', 'arm64', '23.0.0', mlxWheels.macos14],
    ['darwin', 'arm64', '24.6.0', mlxWheels.macos15],
    ['darwin', 'arm64', '25.1.0', mlxWheels.macos15],
    ['darwin', 'arm64', '25.2.0', mlxWheels.macos26],
    ['darwin', 'arm64', '26.0.0', mlxWheels.macos26],
    ['darwin', 'x64', '24.0.0', undefined],
    ['win32', 'x64', '10.0.0', undefined],
  ])('for %s %s %s', (platform, arch, release, expected) => {
    expect(mlxWheel({ platform, arch, release })).toBe(expected);
  });
});

/** Whether this container lets root mount. */
function mayMount(): boolean {
  try {
    execFileSync('unshare', ['--mount', 'true'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}
