import { readdir } from 'node:fs/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Fault, SeenRequest } from '../../../test/support/fake-hub.ts';
import { HubWorld, tinyFiles } from '../../../test/support/hub-world.ts';

let world: HubWorld;

beforeEach(async () => {
  world = await HubWorld.open();
});

afterEach(async () => {
  await world.close();
});

const isListing = (request: SeenRequest): boolean => request.path.startsWith('/api/');

/** The fault for the first `times` requests that the predicate picks. */
function first(
  times: number,
  picks: (request: SeenRequest) => boolean,
  fault: Fault,
): (request: SeenRequest) => Fault | null {
  let left = times;
  return (request) => (picks(request) && left-- > 0 ? fault : null);
}

const always = Number.POSITIVE_INFINITY;
const status = (code: number, headers: Record<string, string> = {}): Fault => {
  return { kind: 'status', status: code, headers };
};

test.each([
  ['401 without a token', 401, {}, {}, 'hub_unauthorized', 'HF_TOKEN'],
  ['401 with a token', 401, {}, { HF_TOKEN: 'hf_old' }, 'hub_unauthorized', 'expired'],
  [
    '401 that hides a missing model',
    401,
    { 'x-error-code': 'RepoNotFound' },
    {},
    'model_not_found',
    'spelling',
  ],
  ['401 for a gated model', 401, { 'x-error-code': 'GatedRepo' }, {}, 'hub_forbidden', 'licence'],
  ['403', 403, {}, {}, 'hub_forbidden', 'licence'],
  ['404', 404, {}, {}, 'model_not_found', 'spelling'],
  ['404 for a revision', 404, { 'x-error-code': 'RevisionNotFound' }, {}, 'model_not_found', '@'],
  ['400', 400, {}, {}, 'hub_unavailable', 'again'],
])('%s ends at once', async (_name, code, headers, environment, expected, hint) => {
  world.environment = environment;
  world.hub.behave = first(always, () => true, status(code, headers));
  await expect(world.pull()).rejects.toMatchObject({
    code: expected,
    hint: expect.stringContaining(hint),
  });
  expect(world.hub.requests.length).toBe(1);
});

test('429 waits as long as the hub says, then goes on', async () => {
  world.hub.behave = first(2, isListing, status(429, { 'retry-after': '0' }));
  await world.pull();
  expect(world.events.slice(0, 2)).toEqual([
    { kind: 'retry', file: 'acme/tiny', attempt: 1, waitMs: 0, code: 'hub_rate_limited' },
    { kind: 'retry', file: 'acme/tiny', attempt: 2, waitMs: 0, code: 'hub_rate_limited' },
  ]);
  expect(await world.wrongFiles()).toEqual([]);
});

test('429 with a long wait is an error that says how long', async () => {
  world.hub.behave = first(always, isListing, status(429, { 'retry-after': '3600' }));
  await expect(world.pull()).rejects.toMatchObject({
    code: 'hub_rate_limited',
    hint: expect.stringContaining('3600 s'),
  });
  expect(world.hub.requests.length).toBe(1);
});

test('503 is tried again, and is an error when it stays', async () => {
  world.hub.behave = first(2, () => true, status(503));
  await world.pull();
  expect(await world.wrongFiles()).toEqual([]);
  world.hub.behave = first(always, () => true, status(503));
  await expect(world.pull()).rejects.toMatchObject({ code: 'hub_unavailable' });
});

test('a hub that is not there is an error that says so', async () => {
  world.environment = { HF_ENDPOINT: 'http://127.0.0.1:9' };
  await expect(world.pull()).rejects.toMatchObject({ code: 'hub_unavailable' });
});

test('a signed address that has run out is renewed', async () => {
  world.hub.behave = first(3, ({ onCdn }) => onCdn, status(403));
  await world.pull();
  expect(await world.wrongFiles()).toEqual([]);
});

test('a connection that is cut goes on where it broke', async () => {
  world.hub.behave = (request, index) =>
    request.onCdn && index % 4 !== 0 ? { kind: 'cut', afterBytes: 100_000 } : null;
  await world.pull();
  expect(await world.wrongFiles()).toEqual([]);
  const wanted = tinyFiles.filter(({ path }) => /^model-.*safetensors$/.test(path));
  const bytes = wanted.reduce((sum, file) => sum + file.bytes.length, 0);
  // What a broken connection had in flight may be lost; nothing that was written is fetched again.
  expect(world.hub.fileBytesSent).toBeLessThan(bytes * 1.5);
});

test.each<[string, Fault, string]>([
  ['stalls', { kind: 'stall', afterBytes: 5_000 }, 'download_stalled'],
  ['stalls before the first byte', { kind: 'stall', afterBytes: 0 }, 'download_stalled'],
  ['drips', { kind: 'drip' }, 'download_stalled'],
  ['cuts before the first byte', { kind: 'cut', afterBytes: 0 }, 'hub_unavailable'],
])('a server that %s is given up, and a better one later goes on', async (_name, fault, code) => {
  world.hub.behave = first(always, ({ onCdn }) => onCdn, fault);
  await expect(world.pull({ tuning: { maxAttempts: 2, stallMs: 150 } })).rejects.toMatchObject({
    code,
  });
  world.hub.behave = () => null;
  await world.pull();
  expect(await world.wrongFiles()).toEqual([]);
});

test.each<[string, Fault, string]>([
  ['shifts ranges', { kind: 'shiftRange' }, 'download_wrong_length'],
  ['ends bodies early', { kind: 'length', change: -1_000_000 }, 'download_wrong_length'],
  ['sends too much', { kind: 'length', change: 1 }, 'download_wrong_length'],
  ['sends other bytes', { kind: 'corrupt' }, 'download_corrupt'],
  ['answers 416', status(416), 'download_wrong_length'],
])('a server that %s is found out, and nothing of it gets a name', async (_name, fault, code) => {
  world.hub.behave = first(always, ({ onCdn }) => onCdn, fault);
  await expect(world.pull()).rejects.toMatchObject({ code });
  const names = await readdir(world.inCache('snapshots', world.hub.commit));
  expect(names.filter((name) => name.startsWith('model-'))).toEqual([]);
  world.hub.behave = () => null;
  await world.pull();
  expect(await world.wrongFiles()).toEqual([]);
});

test.each([-3, 3])('a small file whose length is off by %d is found out', async (change) => {
  world.hub.behave = first(always, ({ path }) => path.endsWith('config.json'), {
    kind: 'length',
    change,
  });
  await expect(world.pull()).rejects.toMatchObject({ code: 'download_wrong_length' });
});

test('a listing that lies about a hash is found out', async () => {
  world.hub.editListing = (listing) =>
    JSON.parse(JSON.stringify(listing).replaceAll(/"sha256":"./g, '"sha256":"0'));
  await expect(world.pull()).rejects.toMatchObject({ code: 'download_corrupt' });
});

test('a server without ranges gives the files all the same', async () => {
  world.hub.behave = first(always, ({ onCdn }) => onCdn, { kind: 'ignoreRange' });
  await world.pull();
  expect(await world.wrongFiles()).toEqual([]);
});

test.each<[string, string]>([
  ['ftp://127.0.0.1/x', 'hub_bad_answer'],
  ['/acme/tiny/resolve/round', 'hub_bad_answer'],
])('a redirect to %s is refused', async (to, code) => {
  world.hub.behave = first(always, ({ path }) => /config|round/.test(path), {
    kind: 'redirect',
    to,
  });
  await expect(world.pull()).rejects.toMatchObject({ code });
});

test.each<[string, (listing: Record<string, unknown>) => unknown]>([
  ['no JSON object', () => 'hello'],
  ['no commit', (listing) => ({ ...listing, sha: '../../etc' })],
  [
    'a hash that is a path',
    (listing) => ({
      ...listing,
      siblings: [{ rfilename: 'config.json', size: 1, blobId: '../../../evil' }],
    }),
  ],
  [
    'a negative size',
    (listing) => ({
      ...listing,
      siblings: [{ rfilename: 'config.json', size: -1, blobId: 'a'.repeat(40) }],
    }),
  ],
  [
    'the same file twice',
    (listing) => ({
      ...listing,
      siblings: [{ rfilename: 'config.json' }, { rfilename: 'config.json' }],
    }),
  ],
])('a listing with %s is refused', async (_name, edit) => {
  world.hub.editListing = edit;
  await expect(world.pull()).rejects.toMatchObject({ code: 'hub_bad_answer' });
  expect(await readdir(world.home)).toEqual([]);
});

test.each([
  '../escape.safetensors',
  '/etc/model.safetensors',
  'a/../../b.safetensors',
  'a\\..\\b.safetensors',
  'C:evil.safetensors',
  'nul\u0000.safetensors',
  'line\nbreak.json',
  'a//b.json',
  './config.json',
  'turned\u202e.json',
  'half\ud800.json',
  `${'x'.repeat(256)}.json`,
])('a repository with the file name %j is refused whole', async (rfilename) => {
  world.hub.editListing = (listing) => {
    const { siblings } = listing;
    const others = Array.isArray(siblings) ? siblings : [];
    return { ...listing, siblings: [...others, { rfilename, size: 1, blobId: 'a'.repeat(40) }] };
  };
  await expect(world.pull()).rejects.toMatchObject({ code: 'hub_hostile_name' });
  expect(world.hub.downloads()).toEqual([]);
  expect(await readdir(world.home)).toEqual([]);
});

test('an abort ends the pull at once and the next one goes on from there', async () => {
  const controller = new AbortController();
  world.hub.behave = ({ onCdn }) => (onCdn ? { kind: 'slow', bytesPerS: 400_000 } : null);
  const reason = new Error('enough');
  const timer = setInterval(() => {
    if (world.hub.fileBytesSent > 200_000) controller.abort(reason);
  }, 10);
  await expect(world.pull({ signal: controller.signal })).rejects.toBe(reason);
  clearInterval(timer);
  world.hub.behave = () => null;
  world.events.length = 0;
  await world.pull();
  expect(await world.wrongFiles()).toEqual([]);
  const [listed] = world.events;
  // At most what lay in sockets was sent and not written.
  expect(listed).toMatchObject({ kind: 'listed', totalBytes: 2_200_057 });
  expect(world.hub.fileBytesSent).toBeLessThan(2_200_057 + 500_000);
});
