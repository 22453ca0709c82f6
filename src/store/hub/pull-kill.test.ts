import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir, readFile, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { z } from 'zod';
import { type CompiledChild, compileChild } from '../../../test/support/compile-child.ts';
import {
  HubWorld,
  patientTuning,
  quickTuning,
  tinyFiles,
} from '../../../test/support/hub-world.ts';

const wantedBytes = 2_200_057;
let compiled: CompiledChild;
let world: HubWorld;

beforeAll(async () => {
  compiled = await compileChild('test/support/pull-child.ts');
});

afterAll(async () => {
  await compiled.remove();
});

beforeEach(async () => {
  world = await HubWorld.open();
});

afterEach(async () => {
  await world.close();
});

function startPull(): ChildProcess {
  const environment = {
    ...process.env,
    HF_ENDPOINT: world.hub.url,
    HF_HOME: '',
    HF_HUB_CACHE: '',
    XDG_CACHE_HOME: '',
  };
  return spawn(process.execPath, [compiled.script, world.home, 'acme/tiny'], {
    env: environment,
    stdio: ['ignore', 'ignore', 'inherit'],
  });
}

/**
 * Kills a pull once it has kept so many bytes, and waits until it is gone. One file never comes, so
 * that a pull is not done before, however late the kill.
 */
async function killAfter(bytes: number): Promise<void> {
  world.hub.behave = ({ onCdn, path }) => {
    if (!onCdn) return null;
    if (path.endsWith('00002-of-00002.safetensors')) return { kind: 'stall', afterBytes: 0 };
    return { kind: 'slow', bytesPerS: 400_000 };
  };
  const child = startPull();
  const gone = once(child, 'exit');
  while ((await keptBytes()) < bytes && child.exitCode === null) await sleep(5);
  child.kill('SIGKILL');
  expect(await gone).toEqual([null, 'SIGKILL']);
}

/** Files of tries that are still in the cache. */
async function leftovers(): Promise<string[]> {
  return (await blobs()).filter((name) => name.includes('cidery'));
}

async function blobs(): Promise<string[]> {
  return readdir(world.inCache('blobs')).catch(() => []);
}

/** What the next pull need not fetch: whole files, and what is recorded of partial ones. */
async function keptBytes(): Promise<number> {
  const sizes = await Promise.all(
    (await blobs()).map(async (name) => {
      const path = world.inCache('blobs', name);
      // A pull that runs may just have taken it away.
      if (!name.includes('cidery'))
        return stat(path).then(
          ({ size }) => size,
          () => 0,
        );
      if (!name.endsWith('.json')) return 0;
      const state = await readFile(path, 'utf8').catch(() => '{"done":[]}');
      const { done } = stateSchema.parse(JSON.parse(state));
      return done.reduce((sum, [start, end]) => sum + end - start, 0);
    }),
  );
  return sizes.reduce((sum, size) => sum + size, 0);
}
const stateSchema = z.looseObject({ done: z.array(z.tuple([z.int(), z.int()])) });

test('a killed pull goes on where it was, and little comes twice', async () => {
  await killAfter(900_000);
  const kept = await keptBytes();
  expect(kept).toBeGreaterThanOrEqual(900_000);
  const sent = world.hub.fileBytesSent;
  world.hub.behave = () => null;
  await world.pull({ tuning: patientTuning });
  expect(await world.wrongFiles()).toEqual([]);
  expect(await leftovers()).toEqual([]);
  // What was recorded does not come again; the hub may have had a piece in hand for each line.
  const after = world.hub.fileBytesSent - sent;
  expect(after).toBeLessThanOrEqual(wantedBytes - kept + 200_000);
});

test('a pull that is killed again and again ends with the right files', async () => {
  for (const bytes of [300_000, 900_000, 1_400_000]) await killAfter(bytes);
  world.hub.behave = () => null;
  await world.pull();
  expect(await world.wrongFiles()).toEqual([]);
  expect(await leftovers()).toEqual([]);
});

test('two processes and this one pull at once; the work is done once', async () => {
  world.hub.behave = ({ onCdn }) => (onCdn ? { kind: 'slow', bytesPerS: 1_500_000 } : null);
  const children = [startPull(), startPull()];
  const ends = children.map((child) => once(child, 'exit'));
  await world.pull({ tuning: patientTuning });
  expect(await Promise.all(ends)).toEqual([
    [0, null],
    [0, null],
  ]);
  expect(await world.wrongFiles()).toEqual([]);
  expect(world.hub.fileBytesSent).toBe(wantedBytes);
});

/** Leaves the first large file half done, and returns the path of its partial. */
async function leaveHalf(): Promise<string> {
  world.hub.behave = ({ onCdn }) => (onCdn ? { kind: 'cut', afterBytes: 60_000 } : null);
  const tuning = { ...quickTuning, maxAttempts: 1 };
  await expect(world.pull({ tuning })).rejects.toMatchObject({ code: 'hub_unavailable' });
  world.hub.behave = () => null;
  const partial = (await leftovers()).find((name) => name.endsWith('.cidery-partial'));
  return world.inCache('blobs', partial ?? 'there is none');
}

test('a partial file that was cut since is filled again', async () => {
  await truncate(await leaveHalf(), 10_000);
  await world.pull();
  expect(await world.wrongFiles()).toEqual([]);
});

test.each([
  '',
  '{',
  '{"version":2}',
  '{"version":1,"sizeBytes":1,"hash":"x","done":[[0,1]]}',
  'null',
])('a state that says %j is not believed', async (text) => {
  await writeFile(`${await leaveHalf()}.json`, text);
  await world.pull();
  expect(await world.wrongFiles()).toEqual([]);
});

test('a state that lies about what is there costs one try', async () => {
  const partial = await leaveHalf();
  const file = tinyFiles.find(({ bytes }) => bytes.length === 1_500_000);
  const hash = partial.slice(join(partial, '..').length + 1).replace('.cidery-partial', '');
  await truncate(partial, 1_500_000);
  const state = { version: 1, sizeBytes: file?.bytes.length, hash, done: [[0, 1_500_000]] };
  await writeFile(`${partial}.json`, JSON.stringify(state));
  await world.pull();
  expect(await world.wrongFiles()).toEqual([]);
});
