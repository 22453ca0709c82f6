import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type CompiledChild, compileChild } from '../../test/support/compile-child.ts';
import { gguf, writeGguf } from '../../test/support/gguf-writer.ts';
import { rejection } from '../../test/support/rejection.ts';
import { tinyLlama, tinyLlamaTensors } from '../../test/support/tiny-gguf.ts';
import { modelId } from '../base/ids.ts';
import { realDisk } from '../platform/real-disk.ts';
import { readManifest } from '../store/read-manifest.ts';
import { manifestInThread } from './manifest-thread.ts';
import type { ModelOnDisk } from './model-library.ts';

let folder: string;
let compiled: CompiledChild;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'cidery-manifest-'));
  compiled = await compileChild('src/node/manifest-worker.ts');
}, 60_000);

afterAll(async () => {
  await compiled.remove();
  await rm(folder, { recursive: true });
});

async function modelOf(name: string, bytes: Uint8Array): Promise<ModelOnDisk> {
  const path = join(folder, name);
  await writeFile(path, bytes);
  const id = modelId(`local/${name}`);
  return { id, kind: 'gguf', path, sizeBytes: bytes.length, state: 'ready', modifiedMs: 0 };
}

describe('a manifest from a thread of its own', () => {
  it('is the one that is read here', async () => {
    const bytes = writeGguf({ metadata: tinyLlama, tensors: tinyLlamaTensors });
    const model = await modelOf('tiny.gguf', bytes);
    const cache = join(folder, 'cache');
    const apart = await manifestInThread(pathToFileURL(compiled.script), model, cache);
    expect(apart).toEqual(await readManifest(realDisk, model, cache));
  });

  it('or the coded error, with what to do', async () => {
    const metadata = { ...tinyLlama, 'tokenizer.ggml.model': gguf.string('wordpiece') };
    const bytes = writeGguf({ metadata, tensors: tinyLlamaTensors });
    const model = await modelOf('odd.gguf', bytes);
    const read = manifestInThread(pathToFileURL(compiled.script), model, join(folder, 'cache'));
    await expect(read).rejects.toMatchObject({
      code: 'model_unsupported',
      message: 'odd.gguf has a tokenizer of the kind "wordpiece", which is not known here',
      hint: 'use the safetensors files of the model, which come with a tokenizer.json',
    });
  });

  it('costs that model alone when its thread ends', async () => {
    const script = join(folder, 'ends.mjs');
    await writeFile(script, 'process.exit();');
    const model = await modelOf('tiny.gguf', new Uint8Array(8));
    expect(await rejection(manifestInThread(pathToFileURL(script), model, folder))).toMatchObject({
      code: 'thread_ended',
    });
  });
});
