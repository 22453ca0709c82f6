import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { modelId } from '../base/ids.ts';
import { buildModel } from '../model/model.ts';
import { realDisk } from '../platform/real-disk.ts';
import { readManifest } from '../store/read-manifest.ts';
import { tinyModelLogits, writeTinyModel } from './tiny-model.ts';

test('the model of the self-test is a whole one', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'cidery-tiny-'));
  try {
    await writeTinyModel(folder);
    const place = { id: modelId('local/tiny'), kind: 'safetensors', path: folder } as const;
    const manifest = await readManifest(realDisk, place, join(folder, 'cache'));
    const { parameters, ignored } = buildModel(manifest);
    expect([parameters.length, ignored]).toEqual([11, []]);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});

test('its logits depend on every token before them', () => {
  const [first, second] = [tinyModelLogits([1, 2, 3]), tinyModelLogits([4, 2, 3])];
  expect(first[2]).not.toEqual(second[2]);
  expect(tinyModelLogits([1, 2])).toEqual(first.slice(0, 2));
});
