import { createHash } from 'node:crypto';
import { basename, dirname, join } from 'node:path';
import { CideryError, errorCode } from '../../base/error.ts';
import { type ModelId, modelId } from '../../base/ids.ts';
import type { Disk } from '../../ports/disk.ts';
import { shardSetOf } from '../hub/choose-files.ts';
import { localFolder, type ModelFolders, type ModelOnDisk } from './folders.ts';
import { type FoundModel, inspectFolder } from './inspect-folder.ts';

const nameMaxCharacters = 64;

/**
 * `local/NAME-HASH8` of a path with every link followed: the same file has the same id, however it
 * is reached.
 */
export function localModelId(realPath: string): ModelId {
  const stem = basename(realPath).replace(/\.gguf$/i, '');
  const name = stem.replaceAll(/[^A-Za-z0-9._-]+/g, '-').slice(0, nameMaxCharacters);
  const hash = createHash('sha256').update(realPath).digest('hex').slice(0, 8);
  return modelId(`local/${name === '' ? 'model' : name}-${hash}`);
}

function notAModel(path: string, what: string): CideryError {
  return new CideryError('model_not_found', `${path} ${what}`, {
    hint: 'give a folder with config.json and .safetensors files, or a .gguf file',
  });
}

/** The GGUF set that a file belongs to: it may be one of several shards beside each other. */
async function inspectGgufFile(disk: Disk, path: string): Promise<FoundModel> {
  const found = await inspectFolder(disk, dirname(path));
  const set = shardSetOf(path);
  const match = found.find(({ kind, path: first }) => kind === 'gguf' && shardSetOf(first) === set);
  if (match === undefined) throw notAModel(path, 'is no .gguf file');
  return match;
}

/** The one model of a folder: its safetensors, else its only GGUF file. */
function onlyModel(path: string, found: readonly FoundModel[]): FoundModel {
  const safetensors = found.find(({ kind }) => kind === 'safetensors');
  const [first] = found;
  if (safetensors !== undefined) return safetensors;
  if (first === undefined) throw notAModel(path, 'holds no model');
  if (found.length === 1) return first;
  const names = found.map((model) => basename(model.path)).join(', ');
  throw new CideryError('model_ambiguous', `${path} holds several models: ${names}`, {
    hint: 'give the path of one of the files',
  });
}

/**
 * Inspects a folder or a .gguf file that a user named (absolute path).
 * Errors: `model_not_found`, `model_ambiguous`, the disk's.
 */
export async function inspectPath(disk: Disk, path: string): Promise<ModelOnDisk> {
  const facts = await disk.facts(path);
  if (facts === null) throw notAModel(path, 'is not there');
  const realPath = await disk.realPath(path);
  const found =
    facts.kind === 'file'
      ? await inspectGgufFile(disk, realPath)
      : onlyModel(path, await inspectFolder(disk, realPath));
  return {
    id: localModelId(found.path),
    origin: 'linked',
    kind: found.kind,
    path: found.path,
    weights: found.weights,
    sizeBytes: found.sizeBytes,
    state: found.missing.length === 0 ? 'ready' : 'partial',
    revision: null,
  };
}

/**
 * Keeps a model that a user named by its path in the list, so that its `local/…` id is known from
 * now on.
 */
export async function rememberLocalModel(
  disk: Disk,
  folders: ModelFolders,
  model: ModelOnDisk,
): Promise<void> {
  await disk.makeFolder(localFolder(folders));
  await disk.link(model.path, join(localFolder(folders), basename(model.id)));
}

/** A model that may have gone, or may be no model any more: null then. */
async function inspectIfModel(disk: Disk, path: string): Promise<ModelOnDisk | null> {
  try {
    return await inspectPath(disk, path);
  } catch (error) {
    if (['model_not_found', 'model_ambiguous', 'disk_denied'].includes(errorCode(error)))
      return null;
    throw error;
  }
}

/** A listed model and the entry in our own folder that leads to it. */
export interface LocalEntry {
  readonly entry: string;
  readonly model: ModelOnDisk;
}

/** Models that lie in `CIDERY_HOME/models`, and those elsewhere that were remembered. */
export async function listLocalModels(disk: Disk, folders: ModelFolders): Promise<LocalEntry[]> {
  const entries: LocalEntry[] = [];
  const visit = async (folder: string, origin: 'imported' | 'linked'): Promise<void> => {
    for (const name of await disk.list(folder)) {
      const entry = join(folder, name);
      const isOurs = origin === 'imported' && (name === 'starter' || name === 'local');
      const model = isOurs || name.startsWith('.') ? null : await inspectIfModel(disk, entry);
      if (model !== null) entries.push({ entry, model: { ...model, origin } });
    }
  };
  await visit(folders.models, 'imported');
  await visit(localFolder(folders), 'linked');
  return entries;
}
