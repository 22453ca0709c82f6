import { beforeEach, expect, test } from 'vitest';
import { MemoryDisk } from '../../test/support/memory-disk.ts';
import type { ModelManifest } from '../model/manifest.ts';
import { keptManifest } from './kept-manifest.ts';

const path = '/models/tiny.gguf';
const tokenizerPath = '/tokenizers/tiny/tokenizer.json';
const manifest: ModelManifest = {
  id: 'local/tiny',
  files: [{ path, sizeBytes: 4 }],
  config: { model_type: 'llama', rope: { nested: [1, 'x', null] } },
  tensors: [],
  text: { tokenizerPath, chatTemplate: null, specialTokens: {}, eosIds: [2] },
};

let disk: MemoryDisk;
let reads: number;

beforeEach(() => {
  disk = new MemoryDisk();
  disk.put(path, 'GGUF');
  disk.put(tokenizerPath, '{}');
  reads = 0;
});

function manifestNow(maker = 'one', id: string = manifest.id): Promise<ModelManifest> {
  return keptManifest(disk, '/kept', maker, { id, path }, async () => {
    reads += 1;
    return { ...manifest, id };
  });
}

test('is read once', async () => {
  expect(await manifestNow()).toEqual(manifest);
  expect(await manifestNow()).toEqual(manifest);
  expect(reads).toBe(1);
});

test.each([
  ['other code', () => manifestNow('two')],
  ['another id of the same file', () => manifestNow('one', 'local/other')],
  ['a file of another size', () => (disk.put(path, 'GGUF, longer'), manifestNow())],
  ['a file that is gone', () => (disk.files.delete(path), manifestNow())],
  ['a tokenizer that is gone', () => (disk.files.delete(tokenizerPath), manifestNow())],
  ['what was kept, damaged', () => (damage('{'), manifestNow())],
  ['what was kept, of another form', () => (damage('{"maker":"one"}'), manifestNow())],
])('is read again for %s', async (_, again) => {
  await manifestNow();
  await again();
  expect(reads).toBe(2);
});

function damage(text: string): void {
  for (const name of disk.files.keys()) if (name.startsWith('/kept/')) disk.put(name, text);
}

test('is read each time where nothing can be kept', async () => {
  disk.writeTextAtomically = async () => {
    throw new Error('read-only');
  };
  expect(await manifestNow()).toEqual(manifest);
  expect(await manifestNow()).toEqual(manifest);
  expect(reads).toBe(2);
});

test('what reading throws comes through, and nothing is kept of it', async () => {
  const failing = keptManifest(disk, '/kept', 'one', manifestPlace, () =>
    Promise.reject(new Error('broken')),
  );
  await expect(failing).rejects.toThrow('broken');
  await manifestNow();
  expect(reads).toBe(1);
});

const manifestPlace = { id: manifest.id, path };
