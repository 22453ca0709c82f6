import { lstat, mkdir, readdir, readFile, readlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { blobName } from '../../../test/support/fake-hub.ts';
import {
  fileOf,
  HubWorld,
  realPorts,
  tinyFiles,
  wantedPaths,
} from '../../../test/support/hub-world.ts';

let world: HubWorld;

beforeEach(async () => {
  world = await HubWorld.open();
});

afterEach(async () => {
  await world.close();
});

test('a pull fills the cache as Python lays it out, with what is needed only', async () => {
  const pulled = await world.pull();
  expect(pulled).toEqual({
    repository: 'acme/tiny',
    commit: world.hub.commit,
    kind: 'safetensors',
    path: world.inCache('snapshots', world.hub.commit),
    quantization: null,
    sizeBytes: wantedPaths.reduce((sum, path) => sum + fileOf(tinyFiles, path).bytes.length, 0),
  });
  expect(await world.wrongFiles()).toEqual([]);
  expect((await readdir(pulled.path)).sort()).toEqual(wantedPaths);
  const blobs = wantedPaths.map((path) => blobName(fileOf(tinyFiles, path)));
  expect((await readdir(world.inCache('blobs'))).sort()).toEqual(blobs.toSorted());
  expect(await readFile(world.inCache('refs', 'main'), 'utf8')).toBe(world.hub.commit);
  const config = fileOf(tinyFiles, 'config.json');
  expect(await readlink(world.snapshot('config.json'))).toBe(`../../blobs/${blobName(config)}`);
});

test('a second pull fetches nothing but the listing', async () => {
  await world.pull();
  world.hub.requests.length = 0;
  await world.pull();
  expect(world.hub.requests.map(({ path }) => path)).toEqual([
    '/api/models/acme/tiny/revision/main',
  ]);
});

test('blobs that another tool has put there are used', async () => {
  const weights = fileOf(tinyFiles, 'model-00001-of-00002.safetensors');
  await mkdir(world.inCache('blobs'), { recursive: true });
  await writeFile(world.inCache('blobs', blobName(weights)), weights.bytes);
  await world.pull();
  expect(world.hub.downloads('model-00001-of-00002.safetensors')).toEqual([]);
  expect(await world.wrongFiles()).toEqual([]);
});

test('a blob of the wrong length is fetched anew', async () => {
  const weights = fileOf(tinyFiles, 'model-00002-of-00002.safetensors');
  await mkdir(world.inCache('blobs'), { recursive: true });
  await writeFile(world.inCache('blobs', blobName(weights)), 'half');
  await world.pull();
  expect(await world.wrongFiles()).toEqual([]);
});

test('large files come in several ranges, small ones whole', async () => {
  await world.pull();
  const onCdn = world.hub.downloads('model-00001-of-00002.safetensors').filter((r) => r.onCdn);
  expect(onCdn.map(({ range }) => range ?? '').toSorted()).toEqual([
    'bytes=0-262143',
    'bytes=1048576-1310719',
    'bytes=1310720-1499999',
    'bytes=262144-524287',
    'bytes=524288-786431',
    'bytes=786432-1048575',
  ]);
  expect(world.hub.downloads('config.json').map(({ range }) => range)).toEqual([undefined]);
});

test('the weights come after everything else', async () => {
  await world.pull();
  const order = world.hub.downloads().map(({ path }) => path.endsWith('.safetensors'));
  expect(order.indexOf(true)).toBe(3);
  expect(order.slice(3)).not.toContain(false);
});

test('the token goes to the hub and never to the host that it sends us to', async () => {
  world.environment = { HF_TOKEN: 'hf_secret' };
  await world.pull();
  const seen = new Set(world.hub.requests.map((r) => `${r.onCdn}:${r.authorization}`));
  expect([...seen].sort()).toEqual(['false:Bearer hf_secret', 'true:undefined']);
});

test('the token file in HF_HOME is read', async () => {
  await mkdir(join(world.home, 'hf'));
  await writeFile(join(world.home, 'hf', 'token'), 'hf_from_file\n');
  world.environment = { HF_HOME: join(world.home, 'hf') };
  await world.pull();
  expect(world.hub.requests[0]?.authorization).toBe('Bearer hf_from_file');
  expect(await world.wrongFiles()).toEqual([]);
});

test('a listing without sizes and hashes is completed from the headers of the files', async () => {
  world.hub.bareListing = true;
  await world.pull();
  expect(await world.wrongFiles()).toEqual([]);
  const heads = world.hub.requests.filter(({ method }) => method === 'HEAD');
  expect(heads.map(({ onCdn }) => onCdn)).toEqual([false, false, false, false, false]);
});

test('a tag is written as a ref, a commit is not', async () => {
  await world.pull({ reference: 'acme/tiny@refs/pr/1' });
  await world.pull({ reference: `acme/tiny@${world.hub.commit}` });
  expect(await readFile(world.inCache('refs', 'refs', 'pr', '1'), 'utf8')).toBe(world.hub.commit);
  expect(await readdir(world.inCache('refs'))).toEqual(['refs']);
});

test('offline asks nobody', async () => {
  world.environment = { HF_HUB_OFFLINE: '1' };
  await expect(world.pull()).rejects.toMatchObject({ code: 'offline' });
  expect(world.hub.requests).toEqual([]);
});

test('a full disk is found before the first byte', async () => {
  const disk = { ...realPorts.disk, freeBytes: () => Promise.resolve(257 * 1024 * 1024) };
  await expect(world.pull({ ports: { disk } })).rejects.toMatchObject({
    code: 'disk_full_before',
    message:
      `acme/tiny needs 272 MB in ${world.settings.cacheFolder} ` +
      '(3 MB for the model, 269 MB that stay free), where 269 MB are free',
    hint: 'free some space, or set HF_HUB_CACHE to a folder on a larger disk',
  });
  expect(world.hub.downloads()).toEqual([]);
  expect(await lstat(world.inCache()).catch(() => null)).toBe(null);
});

test('a disk that is full in the middle ends the pull without a try at the network', async () => {
  const disk = {
    ...realPorts.disk,
    openForWriting: async (path: string) => {
      const file = await realPorts.disk.openForWriting(path);
      const full = Object.assign(new Error('disk full'), { code: 'ENOSPC' });
      const isLarge = path.includes(blobName(fileOf(tinyFiles, wantedPaths[1] ?? '')));
      return {
        write: (offset: number, bytes: Uint8Array) =>
          isLarge ? Promise.reject(full) : file.write(offset, bytes),
        sync: () => file.sync(),
        truncate: (size: number) => file.truncate(size),
        close: () => file.close(),
      };
    },
  };
  await expect(world.pull({ ports: { disk } })).rejects.toThrow('disk full');
  expect(world.events.filter(({ kind }) => kind === 'retry')).toEqual([]);
  await world.pull();
  expect(await world.wrongFiles()).toEqual([]);
});

test('two pulls at once do the work once', async () => {
  world.hub.behave = (request) => (request.onCdn ? { kind: 'slow', bytesPerS: 3_000_000 } : null);
  await Promise.all([world.pull(), world.pull()]);
  expect(await world.wrongFiles()).toEqual([]);
  const wantedBytes = wantedPaths.reduce(
    (sum, path) => sum + fileOf(tinyFiles, path).bytes.length,
    0,
  );
  expect(world.hub.fileBytesSent).toBe(wantedBytes);
  expect(world.events).toContainEqual({ kind: 'file', file: 'config.json', state: 'waiting' });
});

test('events tell of the whole and of each file, and end at the total', async () => {
  await world.pull();
  const total = wantedPaths.reduce((sum, path) => sum + fileOf(tinyFiles, path).bytes.length, 0);
  expect(world.events[0]).toEqual({
    kind: 'listed',
    files: 5,
    totalBytes: total,
    missingBytes: total,
  });
  const bytes = world.events.flatMap((event) => (event.kind === 'progress' ? [event.bytes] : []));
  expect(bytes.at(-1)).toBe(total);
  expect(bytes).toEqual(bytes.toSorted((a, b) => a - b));
  const states = world.events.flatMap((event) =>
    event.kind === 'file' && event.file === 'config.json' ? [event.state] : [],
  );
  expect(states).toEqual(['fetching', 'verifying', 'done']);
});
