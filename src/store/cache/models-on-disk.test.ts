import {
  access,
  mkdir,
  mkdtemp,
  readdir,
  realpath,
  rm,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { realDisk } from '../../platform/real-disk.ts';
import { type ModelFolders, modelFolders } from './folders.ts';
import { linkTarget } from './layout.ts';
import { inspectPath, localModelId, rememberLocalModel } from './local-models.ts';
import { removeModel } from './remove-model.ts';
import { resolveModel } from './resolve-model.ts';
import { scanModels } from './scan.ts';

const oldCommit = 'a'.repeat(40);
const newCommit = 'b'.repeat(40);
let home: string;
let folders: ModelFolders;

beforeEach(async () => {
  home = await realpath(await mkdtemp(join(tmpdir(), 'cidery-disk-')));
  folders = modelFolders(join(home, 'cidery'), join(home, 'hub'));
});

afterEach(async () => {
  await rm(home, { recursive: true });
});

async function write(path: string, text: string): Promise<string> {
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, text);
  return path;
}

/** A snapshot as Python's tools leave it: names that link to blobs named by content. */
async function snapshot(
  repository: string,
  commit: string,
  files: Readonly<Record<string, string>>,
  ref?: string,
): Promise<string> {
  const folder = join(folders.hubCache, `models--${repository.replace('/', '--')}`);
  for (const [path, text] of Object.entries(files)) {
    const blob = Buffer.from(text).toString('hex');
    await write(join(folder, 'blobs', blob), text);
    const place = join(folder, 'snapshots', commit, path);
    await mkdir(dirname(place), { recursive: true });
    await symlink(linkTarget(path, blob), place);
  }
  if (ref !== undefined) await write(join(folder, 'refs', ref), commit);
  return join(folder, 'snapshots', commit);
}

const blobs = async (repository: string): Promise<string[]> => {
  const folder = `models--${repository.replace('/', '--')}`;
  const names = await readdir(join(folders.hubCache, folder, 'blobs'));
  return names.map((name) => Buffer.from(name, 'hex').toString()).toSorted();
};

const listed = async (): Promise<string[]> =>
  (await scanModels(realDisk, folders)).map(({ id, kind, state }) => `${id} ${kind} ${state}`);

const rules = () => ({ workingFolder: home, userHome: home });
const resolved = async (text: string): Promise<string> => {
  const { id, path } = await resolveModel(realDisk, folders, text, rules());
  return `${id} ${path.replace(home, '~')}`;
};

test('an empty machine has no models', async () => {
  expect(await scanModels(realDisk, folders)).toEqual([]);
});

test('what the Hugging Face cache holds is listed with its state', async () => {
  const index = JSON.stringify({
    weight_map: { a: 'model-00001-of-00002.safetensors', b: 'x.safetensors' },
  });
  await snapshot(
    'acme/whole',
    newCommit,
    { 'config.json': '{}', 'model.safetensors': 'w' },
    'main',
  );
  await snapshot('acme/whole', oldCommit, { 'config.json': '{}', 'model.safetensors': 'old' });
  await snapshot('acme/shards', newCommit, {
    'config.json': '{}',
    'model.safetensors.index.json': index,
    'model-00001-of-00002.safetensors': 'w',
  });
  await snapshot('acme/config', newCommit, { 'config.json': '{}', 'tokenizer.json': '{}' });
  await snapshot('acme/gguf', newCommit, {
    'm.Q4_K_M.gguf': 'g',
    'sub/m-Q8_0-00001-of-00002.gguf': 'h',
  });
  await snapshot('acme/readme', newCommit, { 'README.md': 'x' });
  await write(
    join(folders.hubCache, 'datasets--acme--data', 'snapshots', newCommit, 'config.json'),
    '',
  );
  await write(
    join(folders.hubCache, 'models--acme--..', 'snapshots', newCommit, 'config.json'),
    '',
  );
  await write(join(folders.hubCache, 'models--acme--half', 'blobs', 'f.cidery-partial'), 'bytes');
  expect((await listed()).toSorted()).toEqual([
    'acme/config safetensors partial',
    'acme/gguf:Q4_K_M gguf ready',
    'acme/gguf:Q8_0 gguf partial',
    'acme/half gguf partial',
    'acme/shards safetensors partial',
    'acme/whole safetensors ready',
    `acme/whole@${oldCommit} safetensors ready`,
  ]);
});

test('a listed model says all that there is to know', async () => {
  const folder = await snapshot('acme/whole', newCommit, {
    'config.json': '{}',
    'model.safetensors': 'weights',
  });
  expect(await scanModels(realDisk, folders)).toEqual([
    {
      id: 'acme/whole',
      origin: 'hub',
      kind: 'safetensors',
      path: folder,
      weights: [join(folder, 'model.safetensors')],
      sizeBytes: 9,
      state: 'ready',
      revision: newCommit,
    },
  ]);
});

test('a link that leads nowhere is a missing file', async () => {
  const folder = await snapshot('acme/whole', newCommit, {
    'config.json': '{}',
    'model-00001-of-00002.safetensors': '1',
    'model-00002-of-00002.safetensors': '2',
  });
  await rm(await realpath(join(folder, 'model-00002-of-00002.safetensors')));
  expect(await listed()).toEqual(['acme/whole safetensors partial']);
  await expect(resolved('acme/whole')).rejects.toMatchObject({
    code: 'model_incomplete',
    hint: expect.stringContaining('cidery pull acme/whole'),
  });
});

test('a repository id resolves to its main snapshot, a revision to its own', async () => {
  await snapshot('acme/m', oldCommit, { 'config.json': '{}', 'model.safetensors': 'o' }, 'v1');
  await snapshot('acme/m', newCommit, { 'config.json': '{}', 'model.safetensors': 'n' }, 'main');
  const at = (commit: string): string => `~/hub/models--acme--m/snapshots/${commit}`;
  expect(await resolved('acme/m')).toBe(`acme/m ${at(newCommit)}`);
  expect(await resolved('acme/m@v1')).toBe(`acme/m@${oldCommit} ${at(oldCommit)}`);
  expect(await resolved(`acme/m@${oldCommit}`)).toBe(`acme/m@${oldCommit} ${at(oldCommit)}`);
  await expect(resolved('acme/m@v2')).rejects.toMatchObject({ code: 'model_not_found' });
});

test('a GGUF repository resolves to the best file, or to the one asked for', async () => {
  await snapshot('acme/g', newCommit, {
    'm-Q8_0.gguf': '8',
    'm-Q4_K_M.gguf': '4',
    'm-F16.gguf': 'f',
  });
  const at = `~/hub/models--acme--g/snapshots/${newCommit}`;
  expect(await resolved('acme/g')).toBe(`acme/g:Q4_K_M ${at}/m-Q4_K_M.gguf`);
  expect(await resolved('acme/g:q8_0')).toBe(`acme/g:Q8_0 ${at}/m-Q8_0.gguf`);
  await expect(resolved('acme/g:Q2_K')).rejects.toMatchObject({ code: 'model_not_found' });
});

test('folders and files have one local id, however they are reached', async () => {
  await write(join(home, 'my model', 'config.json'), '{}');
  await write(join(home, 'my model', 'model.safetensors'), 'w');
  await symlink(join(home, 'my model'), join(home, 'link'));
  const file = await write(join(home, 'files', 'tiny.Q8_0.gguf'), 'g');
  const id = localModelId(join(home, 'my model'));
  expect(id).toMatch(/^local\/my-model-[0-9a-f]{8}$/);
  for (const text of ['./my model', join(home, 'link'), '~/link', 'my model']) {
    expect(await resolved(text)).toBe(`${id} ~/my model`);
  }
  expect(await resolved('files/tiny.Q8_0.gguf')).toBe(
    `${localModelId(file)} ~/files/tiny.Q8_0.gguf`,
  );
  expect(await resolved('files')).toBe(`${localModelId(file)} ~/files/tiny.Q8_0.gguf`);
});

test.each([
  ['/nowhere', 'model_not_found'],
  ['./empty', 'model_not_found'],
  ['./notes.txt', 'model_not_found'],
  ['./two', 'model_ambiguous'],
  ['', 'model_not_found'],
  ['smollm2:135m', 'model_not_found'],
  ['acme/absent', 'model_not_found'],
  ['acme/../../etc', 'model_not_found'],
  ['local/x-00000000', 'model_not_found'],
  ['\u0000', 'model_not_found'],
])('%j is %s', async (text, code) => {
  await mkdir(join(home, 'empty'));
  await write(join(home, 'notes.txt'), 'x');
  await write(join(home, 'two', 'a.gguf'), 'x');
  await write(join(home, 'two', 'b.gguf'), 'x');
  await expect(resolved(text)).rejects.toMatchObject({ code });
});

test('where paths are not allowed, they name nothing', async () => {
  const file = await write(join(home, 'tiny.gguf'), 'g');
  for (const text of [file, './tiny.gguf', 'tiny.gguf', '~/tiny.gguf', '../x']) {
    await expect(resolveModel(realDisk, folders, text, null)).rejects.toMatchObject({
      code: 'model_not_found',
    });
  }
});

test('a remembered path is listed by its id; removal forgets it and keeps it', async () => {
  const file = await write(join(home, 'tiny.gguf'), 'g');
  const model = await inspectPath(realDisk, file);
  await rememberLocalModel(realDisk, folders, model);
  await rememberLocalModel(realDisk, folders, model);
  expect(await listed()).toEqual([`${model.id} gguf ready`]);
  expect((await resolveModel(realDisk, folders, model.id, null)).path).toBe(file);
  expect(await removeModel(realDisk, folders, model.id)).toEqual({
    freedBytes: 0,
    keptFiles: true,
  });
  expect(await listed()).toEqual([]);
  await access(file);
});

test('an imported model is deleted for good', async () => {
  await write(join(folders.models, 'mine', 'config.json'), '{}');
  await write(join(folders.models, 'mine', 'model.safetensors'), 'w');
  const [model] = await scanModels(realDisk, folders);
  expect(model).toMatchObject({ origin: 'imported', state: 'ready' });
  expect(await removeModel(realDisk, folders, model?.id ?? '')).toEqual({
    freedBytes: 3,
    keptFiles: false,
  });
  expect(await readdir(folders.models)).toEqual([]);
});

test('removing one revision keeps the blobs that another one uses', async () => {
  await snapshot('acme/m', oldCommit, { 'config.json': '{}', 'model.safetensors': 'old' }, 'v1');
  await snapshot('acme/m', newCommit, { 'config.json': '{}', 'model.safetensors': 'new' }, 'main');
  await removeModel(realDisk, folders, `acme/m@${oldCommit}`);
  expect(await blobs('acme/m')).toEqual(['new', '{}']);
  expect(await readdir(join(folders.hubCache, 'models--acme--m', 'refs'))).toEqual(['main']);
  expect(await listed()).toEqual(['acme/m safetensors ready']);
  await removeModel(realDisk, folders, 'acme/m');
  expect(await readdir(folders.hubCache)).toEqual([]);
});

test('removing one GGUF file keeps the others', async () => {
  await snapshot('acme/g', newCommit, { 'm-Q8_0.gguf': '8', 'm-Q4_K_M.gguf': '4' }, 'main');
  await removeModel(realDisk, folders, 'acme/g:Q8_0');
  expect(await listed()).toEqual(['acme/g:Q4_K_M gguf ready']);
  expect(await blobs('acme/g')).toEqual(['4']);
});

test.each(['/etc', './x', 'acme/absent', 'acme/m@v9', 'acme/m:Q8_0', '..', 'local/none-00000000'])(
  'removing %j touches nothing',
  async (id) => {
    await snapshot('acme/m', newCommit, { 'config.json': '{}', 'model.safetensors': 'w' }, 'main');
    await expect(removeModel(realDisk, folders, id)).rejects.toMatchObject({
      code: 'model_not_found',
    });
    expect(await listed()).toEqual(['acme/m safetensors ready']);
  },
);

test('a file outside of the cache that a snapshot links to is never deleted', async () => {
  const precious = await write(join(home, 'precious', 'model.safetensors'), 'p');
  const folder = await snapshot('acme/m', newCommit, { 'config.json': '{}' });
  await symlink(precious, join(folder, 'model.safetensors'));
  await symlink(join(home, 'precious'), join(folder, 'more'));
  await removeModel(realDisk, folders, 'acme/m');
  await access(precious);
  expect(await readdir(folders.hubCache)).toEqual([]);
});
