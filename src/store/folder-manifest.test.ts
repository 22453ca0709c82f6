import { describe, expect, it } from 'vitest';
import { MemoryDisk } from '../../test/support/memory-disk.ts';
import { rejection } from '../../test/support/rejection.ts';
import { type ModelManifest, modelManifestSchema } from '../model/manifest.ts';
import { readFolderManifest } from './folder-manifest.ts';

const folder = '/models/tiny';
type Files = Readonly<Record<string, string | object | Uint8Array>>;

/** A safetensors file with the named tensors, one byte each. */
function weights(...names: string[]): Uint8Array {
  const header = JSON.stringify(
    Object.fromEntries(
      names.map((name, at) => [name, { dtype: 'U8', shape: [1], data_offsets: [at, at + 1] }]),
    ),
  );
  const bytes = Buffer.alloc(8 + header.length + names.length);
  bytes.writeBigUInt64LE(BigInt(header.length));
  bytes.write(header, 8);
  return bytes;
}

function diskOf(files: Files): MemoryDisk {
  const disk = new MemoryDisk();
  for (const [name, content] of Object.entries(files)) {
    const isObject = typeof content === 'object' && !(content instanceof Uint8Array);
    disk.put(`${folder}/${name}`, isObject ? JSON.stringify(content) : content);
  }
  return disk;
}

async function read(files: Files): Promise<ModelManifest> {
  const disk = diskOf(files);
  const manifest = await readFolderManifest(disk, folder, 'org/tiny');
  expect(disk.openCount).toBe(0);
  return modelManifestSchema.parse(manifest);
}

const small: Files = { 'config.json': { model_type: 'llama' }, 'model.safetensors': weights('a') };

describe('weights', () => {
  it('of one file', async () => {
    const bytes = weights('b', 'a');
    expect(await read({ ...small, 'model.safetensors': bytes })).toEqual({
      id: 'org/tiny',
      files: [{ path: `${folder}/model.safetensors`, sizeBytes: bytes.length }],
      config: { model_type: 'llama' },
      tensors: ['b', 'a'].map((name, at) => ({
        name,
        format: 'U8',
        shape: [1],
        file: 0,
        offset: bytes.length - 2 + at,
        byteLength: 1,
        transforms: [],
      })),
      text: { tokenizerPath: null, chatTemplate: null, specialTokens: {}, eosIds: [] },
    });
  });

  const shards: Files = {
    'config.json': {},
    'model-00001-of-00002.safetensors': weights('a'),
    'model-00002-of-00002.safetensors': weights('b', 'c'),
  };
  const index = (map: object): Files => ({ 'model.safetensors.index.json': { weight_map: map } });
  const whole = {
    b: 'model-00002-of-00002.safetensors',
    c: 'model-00002-of-00002.safetensors',
    a: 'model-00001-of-00002.safetensors',
  };

  it('of several, by their index', async () => {
    const files = { ...shards, ...index(whole), 'model.safetensors': weights('a', 'b', 'c') };
    const manifest = await read(files);
    expect(manifest.tensors.map(({ name, file }) => [name, file])).toEqual([
      ['a', 0],
      ['b', 1],
      ['c', 1],
    ]);
    expect(manifest.files.map(({ path }) => path.slice(folder.length + 1))).toEqual([
      'model-00001-of-00002.safetensors',
      'model-00002-of-00002.safetensors',
    ]);
  });

  it('of several without an index; other safetensors files do not count', async () => {
    const manifest = await read({ ...shards, 'adapters.safetensors': weights('z') });
    expect(manifest.tensors.map(({ name }) => name)).toEqual(['a', 'b', 'c']);
  });

  it('may hold more than the index names', async () => {
    const { c: _, ...less } = whole;
    const manifest = await read({ ...shards, ...index(less) });
    expect(manifest.tensors.map(({ name }) => name)).toEqual(['a', 'b', 'c']);
  });

  const { 'model-00002-of-00002.safetensors': _second, ...firstOnly } = shards;
  const cases: [what: string, files: Files, code: string, reason: string][] = [
    ['no config', { 'model.safetensors': weights('a') }, 'model_incomplete', 'no config.json'],
    ['no weights', { 'config.json': {} }, 'model_incomplete', 'no model*.safetensors'],
    ['half the files', firstOnly, 'model_incomplete', 'holds 1 of the 2 files'],
    [
      'a file that only the index has',
      { ...firstOnly, ...index(whole) },
      'model_incomplete',
      'model-00002-of-00002.safetensors is missing, though',
    ],
    [
      'a tensor that only the index has',
      { ...shards, ...index({ ...whole, d: 'model-00001-of-00002.safetensors' }) },
      'model_file_broken',
      'it lacks tensor "d"',
    ],
    [
      'a tensor in another file than the index says',
      { ...shards, ...index({ ...whole, a: 'model-00002-of-00002.safetensors', b: whole.a }) },
      'model_file_broken',
      'tensor "b" is in model-00002-of-00002.safetensors, not in it',
    ],
    [
      'a tensor in two files',
      { ...small, 'model-extra.safetensors': weights('a') },
      'model_file_broken',
      'tensor "a" is both in model-extra.safetensors and in model.safetensors',
    ],
    [
      'an index that leads out of the folder',
      { ...shards, ...index({ a: '../other/model.safetensors' }) },
      'model_file_broken',
      'names "../other/model.safetensors", which is not a file beside it',
    ],
    [
      'an index without a map',
      { ...shards, 'model.safetensors.index.json': {} },
      'model_file_broken',
      'it has no weight_map',
    ],
    ['a broken config', { ...small, 'config.json': '{' }, 'model_file_broken', 'it is not JSON'],
    ['a list for one', { ...small, 'config.json': '[]' }, 'model_file_broken', 'not a JSON object'],
    [
      'broken weights',
      { ...small, 'model.safetensors': new Uint8Array(4) },
      'model_file_broken',
      `${folder}/model.safetensors is broken: it ends after 4 bytes`,
    ],
  ];
  it.each(cases)('with %s are refused', async (_what, files, code, reason) => {
    const disk = diskOf(files);
    const found = await rejection(readFolderManifest(disk, folder, 'x'));
    expect(found.code).toBe(code);
    expect(found.message).toContain(reason);
    expect(disk.openCount).toBe(0);
  });

  it('a folder with a GGUF file gets a hint that names it', async () => {
    const disk = diskOf({ 'config.json': {}, 'tiny.gguf': 'x' });
    const promise = readFolderManifest(disk, folder, 'x');
    await expect(promise).rejects.toMatchObject({
      hint: `name the file itself: ${folder}/tiny.gguf`,
    });
  });
});

it('a config as Python writes it stays JSON', async () => {
  const manifest = await read({ ...small, 'config.json': '{"limits":[0.0,Infinity]}' });
  expect(JSON.parse(JSON.stringify(manifest)).config).toEqual({
    limits: [0, { __float__: 'Infinity' }],
  });
});

describe('ends of a generation', () => {
  const eos = async (files: Files): Promise<number[]> =>
    (await read({ ...small, ...files })).text.eosIds;

  it.each([
    ['config', { 'config.json': { eos_token_id: 7 } }, [7]],
    ['a list in config', { 'config.json': { eos_token_id: [9, 7] } }, [7, 9]],
    ["the text model's config", { 'config.json': { text_config: { eos_token_id: 3 } } }, [3]],
    [
      'generation_config in its place',
      { 'config.json': { eos_token_id: 7 }, 'generation_config.json': { eos_token_id: [1, 2] } },
      [1, 2],
    ],
    [
      'config when generation_config has none',
      { 'config.json': { eos_token_id: 7 }, 'generation_config.json': { eos_token_id: null } },
      [7],
    ],
  ])('%s', async (_what, files, expected) => {
    expect(await eos(files)).toEqual(expected);
  });

  const config = { 'config.json': { eos_token_id: 7 } };
  it.each([
    [
      "the tokenizer config's table",
      { added_tokens_decoder: { 5: { content: '</s>' } }, eos_token: { content: '</s>' } },
      undefined,
      [5, 7],
    ],
    ['added tokens', { eos_token: '</s>' }, { added_tokens: [{ id: 4, content: '</s>' }] }, [4, 7]],
    ['the vocabulary', { eos_token: '</s>' }, { model: { vocab: { '</s>': 3 } } }, [3, 7]],
    ['nowhere', { eos_token: '</s>' }, { model: { vocab: {} } }, [7]],
  ])(
    'and the own one of the tokenizer, from %s',
    async (_what, tokenizerConfig, tokenizer, ids) => {
      const files = { ...config, 'tokenizer_config.json': tokenizerConfig };
      expect(
        await eos(tokenizer === undefined ? files : { ...files, 'tokenizer.json': tokenizer }),
      ).toEqual(ids);
    },
  );

  it('that are no ids are refused', async () => {
    const files = { ...small, 'config.json': { eos_token_id: 'x' } };
    const found = await rejection(readFolderManifest(diskOf(files), folder, 'x'));
    expect(found.message).toContain('eos_token_id is not a token id');
  });
});

describe('the text side', () => {
  it('has special tokens of both files, tokenizer_config first', async () => {
    const { text } = await read({
      ...small,
      'tokenizer.json': {},
      'tokenizer_config.json': { bos_token: '<s>', pad_token: null, add_bos_token: true },
      'special_tokens_map.json': { bos_token: '<b>', unk_token: { content: '<unk>' } },
    });
    expect(text).toEqual({
      tokenizerPath: `${folder}/tokenizer.json`,
      chatTemplate: null,
      specialTokens: { bos_token: '<s>', unk_token: '<unk>' },
      eosIds: [],
    });
  });

  const inConfig = { 'tokenizer_config.json': { chat_template: 'config' } };
  const inJson = { ...inConfig, 'chat_template.json': { chat_template: 'json' } };
  const named = [
    { name: 'tool_use', template: 'tools' },
    { name: 'default', template: 'usual' },
  ];
  it.each([
    ['tokenizer_config', inConfig, 'config'],
    ['chat_template.json before it', inJson, 'json'],
    ['chat_template.jinja before both', { ...inJson, 'chat_template.jinja': 'jinja' }, 'jinja'],
    ['the default of a list', { 'tokenizer_config.json': { chat_template: named } }, 'usual'],
    [
      'the first of a list without one',
      { 'tokenizer_config.json': { chat_template: named.slice(0, 1) } },
      'tools',
    ],
    ['nothing', {}, null],
  ])('has the template of %s', async (_what, files, expected) => {
    expect((await read({ ...small, ...files })).text.chatTemplate).toBe(expected);
  });
});
