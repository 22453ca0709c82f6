import { z } from 'zod';
import { limits } from '../base/limits.ts';
import type { ModelManifest, TensorEntry } from '../model/manifest.ts';
import type { Disk } from '../ports/disk.ts';
import { readFolderText, readJsonObject } from './folder-text.ts';
import { brokenFile, incompleteModel } from './model-file-error.ts';
import { readSafetensorsHeader } from './safetensors/header.ts';

const indexName = 'model.safetensors.index.json';
const indexSchema = z.object({ weight_map: z.record(z.string(), z.string()) });
const shardName = /-(?<part>\d+)-of-(?<count>\d+)\.safetensors$/;

type ModelFile = ModelManifest['files'][number];

/**
 * The manifest of a folder in the form of Hugging Face or MLX: config.json, safetensors files,
 * and what there is of a tokenizer. Only headers and small JSON files are read.
 *
 * Files: those that model.safetensors.index.json names, else every model*.safetensors (as mlx-lm
 * takes them). With an index, each tensor that it names must be in the file it names; what a file
 * holds beyond that is part of the model as well, as it is for mlx-lm.
 *
 * @throws CideryError `model_incomplete` when something is missing, `model_file_broken` when
 * something is wrong, with the file and the reason.
 */
export async function readFolderManifest(
  disk: Disk,
  folder: string,
  id: string,
): Promise<ModelManifest> {
  const config = await readJsonObject(disk, `${folder}/config.json`, limits.modelConfigMaxBytes);
  if (config === null) {
    throw incompleteModel(
      `${folder} holds no config.json`,
      'give the folder of a model in the form of Hugging Face, or a .gguf file',
    );
  }
  const index = await readIndex(disk, folder);
  const names = index === null ? await listWeightFiles(disk, folder) : filesOf(index, folder);
  const files: ModelFile[] = [];
  const tensors: TensorEntry[] = [];
  for (const name of names) {
    const { sizeBytes, entries } = await readWeightFile(disk, folder, name, files.length);
    files.push({ path: `${folder}/${name}`, sizeBytes });
    tensors.push(...entries);
  }
  checkNames(tensors, names, index, folder);
  return { id, files, config, tensors, text: await readFolderText(disk, folder, config) };
}

/** Tensor name to file name, or null when the folder has no index. */
async function readIndex(disk: Disk, folder: string): Promise<Map<string, string> | null> {
  const path = `${folder}/${indexName}`;
  const object = await readJsonObject(disk, path, limits.modelIndexMaxBytes);
  if (object === null) return null;
  const index = indexSchema.safeParse(object);
  if (!index.success) throw brokenFile(path, 'it has no weight_map of tensor names to file names');
  return new Map(Object.entries(index.data.weight_map));
}

function filesOf(index: ReadonlyMap<string, string>, folder: string): string[] {
  const names = [...new Set(index.values())].sort();
  for (const name of names) {
    // A name such as ../x would read outside of the model's folder.
    if (!/^[^/\\]+\.safetensors$/.test(name)) {
      throw brokenFile(
        `${folder}/${indexName}`,
        `it names "${name}", which is not a file beside it`,
      );
    }
  }
  return checkedCount(names, folder);
}

async function listWeightFiles(disk: Disk, folder: string): Promise<string[]> {
  const all = await disk.list(folder);
  const names = all.filter((name) => /^model.*\.safetensors$/.test(name));
  if (names.length === 0) {
    const other = all.find((name) => /\.(?:gguf|bin|pth|pt)$/.test(name));
    throw incompleteModel(
      `${folder} holds no model*.safetensors`,
      other?.endsWith('.gguf') === true
        ? `name the file itself: ${folder}/${other}`
        : 'fetch the weights, or choose a model that is published as safetensors',
    );
  }
  for (const name of names) checkShards(name, names, folder);
  return checkedCount(names, folder);
}

/**
 * Without an index, a name such as model-00001-of-00003.safetensors still tells how many there
 * must be.
 */
function checkShards(name: string, names: readonly string[], folder: string): void {
  const count = Number(shardName.exec(name)?.groups?.['count'] ?? 0);
  if (count === 0) return;
  const present = names.filter(
    (other) => Number(shardName.exec(other)?.groups?.['count']) === count,
  );
  if (present.length >= count) return;
  throw incompleteModel(
    `${folder} holds ${present.length} of the ${count} files of the model's weights`,
    'fetch the missing ones; `cidery pull` goes on where it stopped',
  );
}

function checkedCount(names: string[], folder: string): string[] {
  if (names.length <= limits.modelFilesMax) return names;
  throw brokenFile(folder, `it is a model of ${names.length} files`);
}

async function readWeightFile(
  disk: Disk,
  folder: string,
  name: string,
  file: number,
): Promise<{ sizeBytes: number; entries: TensorEntry[] }> {
  const path = `${folder}/${name}`;
  if ((await disk.facts(path))?.kind !== 'file') {
    throw incompleteModel(
      `${path} is missing, though ${indexName} names it`,
      'fetch the missing file; `cidery pull` goes on where it stopped',
    );
  }
  const open = await disk.open(path);
  try {
    const found = await readSafetensorsHeader(open, path);
    const entries = found.map((tensor) => ({ ...tensor, file, transforms: [] }));
    return { sizeBytes: open.sizeBytes, entries };
  } finally {
    await open.close();
  }
}

/** No tensor may be there twice, and with an index each must be where it says. */
function checkNames(
  tensors: readonly TensorEntry[],
  names: readonly string[],
  index: ReadonlyMap<string, string> | null,
  folder: string,
): void {
  const places = new Map<string, string>();
  for (const { name, file } of tensors) {
    const here = names[file] ?? '';
    const before = places.get(name);
    if (before !== undefined) {
      throw brokenFile(folder, `tensor "${name}" is both in ${before} and in ${here}`);
    }
    places.set(name, here);
  }
  for (const [name, fileName] of index ?? []) {
    const place = places.get(name);
    if (place === fileName) continue;
    throw brokenFile(
      `${folder}/${fileName}`,
      place === undefined
        ? `it lacks tensor "${name}", which ${indexName} says is in it`
        : `tensor "${name}" is in ${place}, not in it as ${indexName} says`,
    );
  }
}
