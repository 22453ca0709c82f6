import fc from 'fast-check';
import { expect, test } from 'vitest';
import { MemoryDisk } from '../../../test/support/memory-disk.ts';
import {
  addRange,
  type ByteRange,
  type ByteRanges,
  cutRanges,
  missingRanges,
  totalBytes,
} from './byte-ranges.ts';
import { chooseFiles, missingShards, quantizationOf } from './choose-files.ts';
import { inParallel } from './parallel.ts';
import { formatRepository, parseRepository } from './repository.ts';
import { readHubSettings, readToken } from './settings.ts';
import { retryAfterMs } from './status-error.ts';

test.each([
  ['org/name', { repository: 'org/name', revision: 'main', quantization: null }],
  ['org/name@v1.0', { repository: 'org/name', revision: 'v1.0', quantization: null }],
  ['org/name@refs/pr/1', { repository: 'org/name', revision: 'refs/pr/1', quantization: null }],
  ['org/n_a.m-e:Q4_K_M', { repository: 'org/n_a.m-e', revision: 'main', quantization: 'Q4_K_M' }],
  ['o/n@v1:F16', { repository: 'o/n', revision: 'v1', quantization: 'F16' }],
])('%s is a repository, and is written back as it was', (text, reference) => {
  expect(parseRepository(text)).toEqual(reference);
  expect(formatRepository(reference)).toBe(text);
});

test.each([
  'name',
  'a/b/c',
  '/etc',
  '../x',
  'org/..',
  'org/.hidden',
  'org/na--me',
  'org/name@',
  'org/name@..',
  'org/name@a/../b',
  'org/name@/x',
  'org/name:',
  'org/name:../x',
  'org/na me',
  'org/name\n',
  'org/näme',
  'local/x-12345678',
  'org/name@v1@v2',
  `org/${'x'.repeat(97)}`,
  '',
])('%j is no repository', (text) => {
  expect(parseRepository(text)).toBe(null);
});

test('settings follow the environment as Python reads it', () => {
  const defaults = readHubSettings({}, '/home/u');
  expect(defaults).toMatchObject({
    cacheFolder: '/home/u/.cache/huggingface/hub',
    tokenPath: '/home/u/.cache/huggingface/token',
    token: null,
    offline: false,
  });
  expect(new URL(defaults.endpoint).protocol).toBe('https:');
  expect(
    readHubSettings(
      { HF_HOME: '~/hf', HF_ENDPOINT: 'http://h:1/x/', HF_TOKEN: ' t ', HF_HUB_OFFLINE: 'Yes' },
      '/home/u',
    ),
  ).toEqual({
    endpoint: 'http://h:1/x',
    cacheFolder: '/home/u/hf/hub',
    token: 't',
    tokenPath: '/home/u/hf/token',
    offline: true,
  });
  expect(readHubSettings({ HF_HUB_CACHE: '/big', HF_HUB_OFFLINE: '0' }, '/h')).toMatchObject({
    cacheFolder: '/big',
    offline: false,
  });
  expect(readHubSettings({ XDG_CACHE_HOME: '/x' }, '/h').cacheFolder).toBe('/x/huggingface/hub');
});

test.each(['hub', 'file:///etc', 'http://user@h/', 'javascript:1'])(
  'HF_ENDPOINT=%s is refused',
  (endpoint) => {
    expect(() => readHubSettings({ HF_ENDPOINT: endpoint }, '/h')).toThrow('no http address');
  },
);

test('a token that would split a header is refused', async () => {
  const settings = readHubSettings({ HF_TOKEN: 'a\r\nx: y' }, '/h');
  await expect(readToken(new MemoryDisk(), settings)).rejects.toMatchObject({
    code: 'hub_token_malformed',
  });
});

test.each([
  ['model-Q4_K_M.gguf', 'Q4_K_M'],
  ['m.q8_0.gguf', 'Q8_0'],
  ['Q6_K/m-Q6_K-00001-of-00003.gguf', 'Q6_K'],
  ['m-UD-Q4_K_XL.gguf', 'UD-Q4_K_XL'],
  ['m-IQ4_NL.gguf', 'IQ4_NL'],
  ['gpt-mxfp4.gguf', 'MXFP4'],
  ['m.BF16.gguf', 'BF16'],
  ['model.gguf', null],
])('%s is %s', (path, label) => {
  expect(quantizationOf(path)).toBe(label);
});

test('the sharded set wins over copies in other layouts', () => {
  const shards = ['model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors'];
  const paths = [
    'config.json',
    ...shards,
    'consolidated.safetensors',
    'model.safetensors',
    'a.bin',
  ];
  expect(chooseFiles('o/n', paths, null)).toEqual({
    kind: 'safetensors',
    small: ['config.json'],
    weights: shards,
    quantization: null,
  });
});

test('of GGUF files the best is chosen, with all its shards', () => {
  const set = ['q/m-Q4_K_M-00001-of-00002.gguf', 'q/m-Q4_K_M-00002-of-00002.gguf'];
  const paths = ['m-F16.gguf', 'm-Q8_0.gguf', ...set, 'mmproj-Q4_K_M.gguf', 'config.json'];
  expect(chooseFiles('o/n', paths, null).weights).toEqual(set);
  expect(chooseFiles('o/n', paths, 'q8_0').weights).toEqual(['m-Q8_0.gguf']);
});

test.each<[string[], string | null, string]>([
  [['config.json', 'pytorch_model.bin'], null, 'hub_no_weights'],
  [['model.safetensors'], null, 'hub_no_weights'],
  [['config.json', 'model-00001-of-00002.safetensors'], null, 'hub_incomplete'],
  [['m-Q4_0-00002-of-00002.gguf'], null, 'hub_incomplete'],
  [['m-Q4_0.gguf'], 'Q8_0', 'model_not_found'],
  [[], null, 'hub_no_weights'],
])('%j with %s is %s', (paths, quantization, code) => {
  expect(() => chooseFiles('o/n', paths, quantization)).toThrow(expect.objectContaining({ code }));
});

test('a lying shard count costs one pass', () => {
  const names = Array.from({ length: 300 }, (_, index) => {
    return `model-${String(index + 1).padStart(5, '0')}-of-99999.safetensors`;
  });
  expect(missingShards(names).length).toBe(99_699);
});

test('ranges: done and missing make the whole, whatever the order', () => {
  const size = 200;
  const range = fc.tuple(fc.nat(size), fc.nat(size)).map(([a, b]): ByteRange => {
    return { start: Math.min(a, b), end: Math.max(a, b) };
  });
  fc.assert(
    fc.property(fc.array(range), fc.integer({ min: 1, max: 50 }), (added, piece) => {
      const done = added.reduce<ByteRanges>((sum, each) => addRange(sum, each), []);
      const marks = Array.from({ length: size }, () => false);
      for (const { start, end } of added) marks.fill(true, start, end);
      expect(totalBytes(done)).toBe(marks.filter(Boolean).length);
      const pieces = cutRanges(missingRanges(done, size), piece);
      for (const { start, end } of pieces) {
        expect(end - start).toBeLessThanOrEqual(piece);
        expect(marks.slice(start, end).includes(true)).toBe(false);
        marks.fill(true, start, end);
      }
      expect(marks.includes(false)).toBe(false);
    }),
  );
});

test.each<[Record<string, string>, number | null]>([
  [{ 'retry-after': '7' }, 7000],
  [{ 'retry-after': 'Thu, 01 Jan 1970 00:00:10 GMT' }, 9000],
  [{ 'retry-after': 'Thu, 01 Jan 1970 00:00:00 GMT' }, 0],
  [{ 'retry-after': 'soon' }, null],
  [{ ratelimit: '"resolvers";r=0;t=55' }, 55_000],
  [{}, null],
])('%j asks to wait %s ms', (headers, wait) => {
  expect(retryAfterMs(new Headers(headers), 1000)).toBe(wait);
});

test('the first failure ends the others, and all have ended when it is told', async () => {
  const ended: number[] = [];
  const failure = new Error('third');
  const run = inParallel([1, 2, 3, 4, 5], 3, new AbortController().signal, async (item, signal) => {
    if (item === 3) throw failure;
    await new Promise<void>((resolve) => {
      signal.addEventListener('abort', () => resolve());
    });
    ended.push(item);
  });
  await expect(run).rejects.toBe(failure);
  expect(ended).toEqual([1, 2]);
});
