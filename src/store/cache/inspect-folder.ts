import { join } from 'node:path';
import { z } from 'zod';
import { limits } from '../../base/limits.ts';
import type { Disk } from '../../ports/disk.ts';
import { ggufSets, missingShards, quantizationOf, weightFilesOf } from '../hub/choose-files.ts';

/** A model that a folder holds, or holds a part of. */
export interface FoundModel {
  readonly kind: 'safetensors' | 'gguf';
  /** The folder, or the (first) .gguf file. */
  readonly path: string;
  /** The files of weights that are there, absolute, in order. */
  readonly weights: readonly string[];
  readonly sizeBytes: number;
  /** Names of files that are known to be lacking; empty for a whole model. */
  readonly missing: readonly string[];
  /** For a GGUF file: its quantization in capitals, `GGUF` when its name does not say. */
  readonly quantization: string | null;
}

const indexName = 'model.safetensors.index.json';
const indexSchema = z.looseObject({ weight_map: z.record(z.string(), z.string()) });
const folderDepth = 3;

/**
 * Sizes of the regular files below a folder, by relative path; links are followed, dangling ones
 * left out.
 */
export async function filesBelow(disk: Disk, folder: string): Promise<Map<string, number>> {
  const found = new Map<string, number>();
  let budget: number = limits.cacheMaxEntries;
  const visit = async (prefix: string, depth: number): Promise<void> => {
    for (const name of await disk.list(join(folder, prefix))) {
      if (budget-- <= 0) return;
      const path = prefix + name;
      const facts = await disk.facts(join(folder, path));
      if (facts?.kind === 'file') found.set(path, facts.sizeBytes);
      else if (facts?.kind === 'folder' && depth > 1) await visit(`${path}/`, depth - 1);
    }
  };
  await visit('', folderDepth);
  return found;
}

/** The files that the index of a sharded model names; empty when there is none that can be read. */
async function indexedFiles(
  disk: Disk,
  folder: string,
  names: readonly string[],
): Promise<string[]> {
  if (!names.includes(indexName)) return [];
  const text = await disk.readText(join(folder, indexName), limits.cacheTextMaxBytes);
  try {
    return [...new Set(Object.values(indexSchema.parse(JSON.parse(text)).weight_map))];
  } catch {
    // A broken index is found, and named, when the model's manifest is read.
    return [];
  }
}

async function inspectSafetensors(
  disk: Disk,
  folder: string,
  files: ReadonlyMap<string, number>,
): Promise<FoundModel | null> {
  const names = [...files.keys()];
  const weights = weightFilesOf(names).sort();
  if (!files.has('config.json')) return null;
  const isSharded = weights.some((name) => /-of-\d{5}\./.test(name)) || weights.length === 0;
  const indexed = isSharded ? await indexedFiles(disk, folder, names) : [];
  const lacking = new Set([
    ...missingShards(weights),
    ...indexed.filter((name) => !files.has(name)),
  ]);
  if (weights.length === 0 && lacking.size === 0) lacking.add('model.safetensors');
  const own = names.filter((name) => !name.includes('/') && !name.endsWith('.gguf'));
  return {
    kind: 'safetensors',
    path: folder,
    weights: weights.map((name) => join(folder, name)),
    sizeBytes: own.reduce((sum, name) => sum + (files.get(name) ?? 0), 0),
    missing: [...lacking].sort(),
    quantization: null,
  };
}

function inspectGguf(folder: string, files: ReadonlyMap<string, number>): FoundModel[] {
  return [...ggufSets([...files.keys()])].map(([, set]) => {
    const paths = set.toSorted();
    return {
      kind: 'gguf',
      path: join(folder, paths[0] ?? ''),
      weights: paths.map((path) => join(folder, path)),
      sizeBytes: paths.reduce((sum, path) => sum + (files.get(path) ?? 0), 0),
      missing: missingShards(paths),
      quantization: quantizationOf(paths[0] ?? '') ?? 'GGUF',
    };
  });
}

/**
 * What models lie in a folder, by the names of its files alone: one of safetensors (where there is
 * a config.json), and each GGUF file or set. A folder that holds GGUF files and only the config of
 * their original is no broken safetensors model.
 */
export async function inspectFolder(disk: Disk, folder: string): Promise<FoundModel[]> {
  const files = await filesBelow(disk, folder);
  const safetensors = await inspectSafetensors(disk, folder, files);
  const gguf = inspectGguf(folder, files);
  const isBare = safetensors !== null && safetensors.weights.length === 0 && gguf.length > 0;
  return safetensors === null || isBare ? gguf : [safetensors, ...gguf];
}
