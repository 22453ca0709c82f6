import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { type CompiledChild, compileChild } from '../../../test/support/compile-child.ts';
import { HubWorld, quickTuning, tinyFiles } from '../../../test/support/hub-world.ts';

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
  const environment = { ...process.env, HF_ENDPOINT: world.hub.url, HF_HOME: '', HF_HUB_CACHE: '' };
  return spawn(process.execPath, [compiled.script, world.home, 'acme/tiny'], {
    env: environment,
    stdio: ['ignore', 'ignore', 'inherit'],
  });
}

/** Kills a pull once the hub has sent so many bytes, and waits until it is gone. */
async function killAfter(bytes: number): Promise<void> {
  const child = startPull();
  const gone = once(child, 'exit');
  while (world.hub.fileBytesSent < bytes && child.exitCode === null) await sleep(5);
  child.kill('SIGKILL');
  expect(await gone).toEqual([null, 'SIGKILL']);
}

/** Files of tries that are still in the cache. */
async function leftovers(): Promise<string[]> {
  const names = await readdir(world.inCache('blobs'));
  return names.filter((name) => name.includes('cidery'));
}

test('a killed pull goes on where it was, and little comes twice', async () => {
  world.hub.behave = ({ onCdn }) => (onCdn ? { kind: 'slow', bytesPerS: 400_000 } : null);
  await killAfter(900_000);
  const sent = world.hub.fileBytesSent;
  expect(await leftovers()).not.toEqual([]);
  world.hub.behave = () => null;
  await world.pull();
  expect(await world.wrongFiles()).toEqual([]);
  expect(await leftovers()).toEqual([]);
  const again = world.hub.fileBytesSent - wantedBytes;
  // Six connections, each with at most a piece in flight and what came since the state was saved.
  expect(sent).toBeGreaterThanOrEqual(900_000);
  expect(again).toBeLessThan(400_000);
});

test('a pull that is killed again and again ends with the right files', async () => {
  world.hub.behave = ({ onCdn }) => (onCdn ? { kind: 'slow', bytesPerS: 400_000 } : null);
  for (const bytes of [300_000, 900_000, 1_500_000]) await killAfter(bytes);
  world.hub.behave = () => null;
  await world.pull();
  expect(await world.wrongFiles()).toEqual([]);
  expect(await leftovers()).toEqual([]);
});

test('two processes and this one pull at once; the work is done once', async () => {
  world.hub.behave = ({ onCdn }) => (onCdn ? { kind: 'slow', bytesPerS: 1_500_000 } : null);
  const children = [startPull(), startPull()];
  const ends = children.map((child) => once(child, 'exit'));
  await world.pull();
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
