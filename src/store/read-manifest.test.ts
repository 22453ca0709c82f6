import { expect, it } from 'vitest';
import { writeGguf } from '../../test/support/gguf-writer.ts';
import { MemoryDisk } from '../../test/support/memory-disk.ts';
import { tinyLlama, tinyLlamaTensors } from '../../test/support/tiny-gguf.ts';
import { modelId } from '../base/ids.ts';
import { readManifest } from './read-manifest.ts';

it('a model is read by its kind', async () => {
  const disk = new MemoryDisk();
  const id = modelId('local/tiny');
  disk.put('/m/tiny.gguf', writeGguf({ metadata: tinyLlama, tensors: tinyLlamaTensors }));
  disk.put('/m/folder/config.json', '{"model_type":"qwen3"}');
  disk.put(
    '/m/folder/model.safetensors',
    Buffer.concat([Uint8Array.of(2, 0, 0, 0, 0, 0, 0, 0), Buffer.from('{}')]),
  );
  const file = await readManifest(disk, { id, kind: 'gguf', path: '/m/tiny.gguf' }, '/cache');
  const folder = await readManifest(disk, { id, kind: 'safetensors', path: '/m/folder' }, '/cache');
  expect([file.id, file.config['model_type']]).toEqual([id, 'llama']);
  expect([folder.id, folder.config['model_type']]).toEqual([id, 'qwen3']);
});
