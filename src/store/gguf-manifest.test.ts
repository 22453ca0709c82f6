import { describe, expect, it } from 'vitest';
import { gguf, type GgufTestFile, writeGguf } from '../../test/support/gguf-writer.ts';
import { MemoryDisk } from '../../test/support/memory-disk.ts';
import { rejection } from '../../test/support/rejection.ts';
import { seededNumbers } from '../../test/support/seeded-numbers.ts';
import { tinyLlama, tinyLlamaTensors, tinyTokenizer, zeros } from '../../test/support/tiny-gguf.ts';
import { CideryError } from '../base/error.ts';
import { modelManifestSchema } from '../model/manifest.ts';
import { readGgufManifest } from './gguf-manifest.ts';

const path = '/models/tiny.gguf';

function diskOf(file: GgufTestFile, at: string = path): MemoryDisk {
  const disk = new MemoryDisk();
  disk.put(at, writeGguf(file));
  return disk;
}

function read(disk: MemoryDisk, at: string = path): ReturnType<typeof readGgufManifest> {
  return readGgufManifest(disk, at, 'local/tiny', '/cache');
}

describe('a model in one file', () => {
  it('becomes a whole manifest', async () => {
    const disk = diskOf({ metadata: tinyLlama, tensors: tinyLlamaTensors });
    const manifest = modelManifestSchema.parse(await read(disk));
    expect(manifest.files).toEqual([{ path, sizeBytes: disk.files.get(path)?.length }]);
    expect(manifest.config).toEqual({
      model_type: 'llama',
      hidden_size: 8,
      num_hidden_layers: 1,
      intermediate_size: 16,
      num_attention_heads: 2,
      num_key_value_heads: 1,
      head_dim: 4,
      max_position_embeddings: 64,
      vocab_size: 6,
      tie_word_embeddings: true,
      rope_theta: 10_000,
      rms_norm_eps: 1e-5,
      attention_bias: false,
      mlp_bias: false,
      eos_token_id: 0,
    });
    expect(
      manifest.tensors.map(({ name, shape, transforms }) => [name, shape, transforms]),
    ).toEqual([
      ['model.embed_tokens.weight', [6, 8], []],
      ['model.layers.0.input_layernorm.weight', [8], []],
      ['model.layers.0.self_attn.q_proj.weight', [8, 8], [{ kind: 'unpermuteRope', heads: 2 }]],
      ['model.layers.0.self_attn.k_proj.weight', [4, 8], [{ kind: 'unpermuteRope', heads: 1 }]],
      ['model.layers.0.self_attn.v_proj.weight', [4, 8], []],
      ['model.layers.0.self_attn.o_proj.weight', [8, 8], []],
      ['model.layers.0.post_attention_layernorm.weight', [8], []],
      ['model.layers.0.mlp.gate_proj.weight', [16, 8], []],
      ['model.layers.0.mlp.up_proj.weight', [16, 8], []],
      ['model.layers.0.mlp.down_proj.weight', [8, 16], []],
      ['model.norm.weight', [8], []],
    ]);
    const { tokenizerPath, ...text } = manifest.text;
    expect(text).toEqual({
      chatTemplate: '{{ messages }}',
      specialTokens: { eos_token: '<|end|>' },
      eosIds: [0],
    });
    expect(tokenizerPath).toMatch(/^\/cache\/[0-9a-f]{32}\/tokenizer\.json$/);
    expect(disk.openCount).toBe(0);
  });

  it('has its tokenizer written once, and anew when the file has changed', async () => {
    const disk = diskOf({ metadata: tinyLlama, tensors: tinyLlamaTensors });
    const first = (await read(disk)).text.tokenizerPath;
    const second = (await read(disk)).text.tokenizerPath;
    expect(disk.written).toEqual([first]);
    expect(second).toBe(first);
    const tokenizer = JSON.parse(await disk.readText(first ?? '', 10_000));
    expect(tokenizer.model.vocab).toEqual({ '<|end|>': 0, a: 1, b: 2, ab: 3, '<tool>': 4, c: 5 });
    disk.put(
      path,
      writeGguf({
        metadata: tinyLlama,
        tensors: [...tinyLlamaTensors, zeros('output.weight', [6, 8])],
      }),
    );
    expect((await read(disk)).text.tokenizerPath).not.toBe(first);
  });

  it('takes its rope factors from their table', async () => {
    const factors = Buffer.alloc(8);
    factors.writeFloatLE(1, 0);
    factors.writeFloatLE(1, 4);
    const table = { name: 'rope_freqs.weight', type: 0, shape: [2], data: factors };
    const disk = diskOf({ metadata: tinyLlama, tensors: [...tinyLlamaTensors, table] });
    const plain = await read(disk);
    expect(plain.config['rope_scaling']).toBeUndefined();
    expect(plain.tensors).toHaveLength(tinyLlamaTensors.length);
    factors.writeFloatLE(3, 4);
    disk.put(path, writeGguf({ metadata: tinyLlama, tensors: [...tinyLlamaTensors, table] }));
    expect((await rejection(read(disk))).message).toContain("not llama3's");
    expect(disk.openCount).toBe(0);
  });
});

describe('a model in parts', () => {
  const split = (number: number, count = 2, tensors = tinyLlamaTensors.length): object => ({
    'split.no': { type: 'u16', value: number },
    'split.count': { type: 'u16', value: count },
    'split.tensors.count': { type: 'i32', value: tensors },
  });
  const part = (number: number): string => `/models/tiny-0000${number}-of-00002.gguf`;
  const both = (firstSplit: object = split(0), secondSplit: object = split(1)): MemoryDisk => {
    const disk = new MemoryDisk();
    const metadata = { ...tinyLlama, ...firstSplit };
    disk.put(part(1), writeGguf({ metadata, tensors: tinyLlamaTensors.slice(0, 4) }));
    disk.put(
      part(2),
      writeGguf({ metadata: { ...secondSplit }, tensors: tinyLlamaTensors.slice(4) }),
    );
    return disk;
  };

  it('is one model, whichever part is named', async () => {
    const disk = both();
    const manifest = await read(disk, part(2));
    expect(manifest.files.map((file) => file.path)).toEqual([part(1), part(2)]);
    expect(manifest.tensors.map(({ file }) => file)).toEqual([0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1]);
    expect((await read(disk, part(1))).tensors).toEqual(manifest.tensors);
  });

  it('is refused when a part is missing', async () => {
    const disk = both();
    await disk.remove(part(2));
    expect(await rejection(read(disk, part(1)))).toEqual({
      code: 'model_incomplete',
      message: 'tiny-00002-of-00002.gguf is missing: the model is in 2 files',
    });
  });

  it.each([
    [
      'another number of parts',
      split(0, 3),
      split(1),
      'it says that it is part 1 of 3, not 1 of 2',
    ],
    ['parts that were swapped', split(0), split(0), 'it says that it is part 1 of 2, not 2 of 2'],
    ['missing tensors', split(0, 2, 12), split(1), 'there are 12 tensors in all parts, but there'],
  ])('is refused with %s', async (_what, first, second, reason) => {
    const found = await rejection(read(both(first, second), part(1)));
    expect(found.code).toBe('model_file_broken');
    expect(found.message).toContain(reason);
  });

  it('is refused with a tensor in two of them', async () => {
    const disk = both();
    disk.put(part(2), writeGguf({ metadata: { ...split(1) }, tensors: tinyLlamaTensors }));
    expect((await rejection(read(disk, part(1)))).message).toContain('is in another part, too');
  });

  it('is refused when its names are gone', async () => {
    const disk = diskOf({ metadata: { ...tinyLlama, ...split(0) }, tensors: tinyLlamaTensors });
    expect((await rejection(read(disk))).code).toBe('model_incomplete');
  });
});

describe('refused with its reason', () => {
  it.each([
    ['no architecture', {}, tinyLlamaTensors, 'it lacks the value "general.architecture"'],
    ['no embedding', tinyLlama, tinyLlamaTensors.slice(1), 'it has no embedding'],
    [
      'no tokenizer',
      Object.fromEntries(Object.entries(tinyLlama).filter(([key]) => !(key in tinyTokenizer))),
      tinyLlamaTensors,
      'it lacks the value "tokenizer.ggml.tokens"',
    ],
    [
      'more tokens than it embeds',
      tinyLlama,
      [zeros('token_embd.weight', [5, 8]), ...tinyLlamaTensors.slice(1)],
      'it has 6 tokens but embeds only 5',
    ],
    [
      'a template that is no text',
      { ...tinyLlama, 'tokenizer.chat_template': gguf.u32(1) },
      tinyLlamaTensors,
      '"tokenizer.chat_template" is not a text',
    ],
    [
      'an absurd rope table',
      tinyLlama,
      [...tinyLlamaTensors, zeros('rope_freqs.weight', [20_000])],
      'is not a table of rope factors',
    ],
  ])('%s', async (_what, metadata, tensors, reason) => {
    const disk = diskOf({ metadata, tensors });
    const found = await rejection(read(disk));
    expect(found.code).toBe('model_file_broken');
    expect(found.message).toContain(reason);
    expect(disk.openCount).toBe(0);
    expect(disk.written).toEqual([]);
  });
});

it('changed bytes give a manifest that keeps its schema, or a coded error', async () => {
  const original = writeGguf({ metadata: tinyLlama, tensors: tinyLlamaTensors });
  const sound = await read(diskOf({ metadata: tinyLlama, tensors: tinyLlamaTensors }));
  const headerBytes = sound.tensors[0]?.offset ?? 0;
  const next = seededNumbers(3);
  const outcomes = { sound: 0, refused: 0 };
  for (let round = 0; round < 3000; round += 1) {
    const bytes = Buffer.from(original);
    for (let change = next(2); change >= 0; change -= 1) bytes[next(headerBytes)] = next(256);
    const disk = new MemoryDisk();
    disk.put(path, bytes);
    try {
      modelManifestSchema.parse(await read(disk));
      outcomes.sound += 1;
    } catch (error) {
      if (!(error instanceof CideryError)) throw error;
      outcomes.refused += 1;
    }
    expect(disk.openCount).toBe(0);
  }
  expect(outcomes.sound).toBeGreaterThan(100);
  expect(outcomes.refused).toBeGreaterThan(1000);
});
