import { isAbsolute, join, resolve } from 'node:path';
import { CideryError } from '../../base/error.ts';
import type { Disk } from '../../ports/disk.ts';
import { catalogueEntry } from '../catalogue.ts';
import { bestQuantization } from '../hub/choose-files.ts';
import { parseRepository, type RepositoryReference } from '../hub/repository.ts';
import { findCatalogueModel } from '../starter/pull-starter.ts';
import type { ModelFolders, ModelOnDisk } from './folders.ts';
import { commitOf, listRepositoryModels } from './hub-models.ts';
import { repositoryFolder } from './layout.ts';
import { inspectPath, listLocalModels } from './local-models.ts';

/** Where relative paths begin; null refuses paths altogether, as for what comes in over HTTP. */
export interface PathRules {
  readonly workingFolder: string;
  readonly userHome: string;
}

function notOnDisk(reference: string, canPull: boolean): CideryError {
  const shown = JSON.stringify(reference.slice(0, 200));
  return new CideryError('model_not_found', `there is no model ${shown} on this machine`, {
    hint: canPull
      ? `fetch it with \`cidery pull ${reference}\``
      : 'see `cidery models` for what there is; write org/name to name a model of the hub',
  });
}

function requireReady(model: ModelOnDisk): ModelOnDisk {
  if (model.state === 'ready') return model;
  const hint =
    model.origin === 'hub' || model.origin === 'catalogue'
      ? `run \`cidery pull ${model.id}\`; it goes on where it stopped`
      : 'copy the missing files there';
  throw new CideryError('model_incomplete', `${model.id} is only in part on this machine`, {
    hint,
  });
}

/** A text that can only be meant as a path. */
function looksLikePath(text: string): boolean {
  return isAbsolute(text) || /^(\.{1,2}|~)(\/|$)/.test(text) || /\.gguf$/i.test(text);
}

function absolutePath(text: string, rules: PathRules): string {
  if (text === '~' || text.startsWith('~/')) return join(rules.userHome, text.slice(1));
  return resolve(rules.workingFolder, text);
}

/**
 * The best of a repository's models for a reference: as asked, else safetensors, else the best GGUF
 * file.
 */
function choose(
  models: readonly ModelOnDisk[],
  reference: RepositoryReference,
): ModelOnDisk | undefined {
  const quantizationOf = (model: ModelOnDisk): string | null =>
    parseRepository(model.id)?.quantization ?? null;
  const wanted = reference.quantization?.toUpperCase();
  if (wanted !== undefined) return models.find((model) => quantizationOf(model) === wanted);
  const ready = models.filter(({ state }) => state === 'ready');
  const safetensors = ready.find(({ kind }) => kind === 'safetensors');
  if (safetensors !== undefined) return safetensors;
  const labels = ready.map(quantizationOf).filter((label) => label !== null);
  const best = bestQuantization(labels);
  return ready.find((model) => quantizationOf(model) === best) ?? ready[0] ?? models[0];
}

async function resolveRepository(
  disk: Disk,
  folders: ModelFolders,
  reference: RepositoryReference,
): Promise<ModelOnDisk | undefined> {
  const { repository, revision } = reference;
  const commit = await commitOf(disk, repositoryFolder(folders.hubCache, repository), revision);
  const models = await listRepositoryModels(disk, folders.hubCache, repository);
  const atCommit = models.filter((model) => model.revision === null || model.revision === commit);
  return choose(atCommit, reference);
}

/**
 * Finds the model that a text names on this disk: a catalogue name, `org/name[@revision][:QUANT]`,
 * `local/…`, or (where paths are allowed) a folder or a .gguf file. A text of the form org/name is
 * a path only when no such model is in the cache. Nothing is fetched.
 * Errors: `model_not_found`, `model_incomplete`, `model_ambiguous`, the disk's.
 */
export async function resolveModel(
  disk: Disk,
  folders: ModelFolders,
  text: string,
  paths: PathRules | null,
): Promise<ModelOnDisk> {
  const entry = catalogueEntry(text);
  if (entry !== undefined) {
    const model = await findCatalogueModel(disk, folders, entry);
    if (model === null) throw notOnDisk(text, true);
    return requireReady(model);
  }
  if (paths !== null && looksLikePath(text)) {
    return requireReady(await inspectPath(disk, absolutePath(text, paths)));
  }
  if (text.startsWith('local/')) {
    const local = await listLocalModels(disk, folders);
    const match = local.find(({ model }) => model.id === text);
    if (match !== undefined) return requireReady(match.model);
  }
  const reference = parseRepository(text);
  const found = reference === null ? undefined : await resolveRepository(disk, folders, reference);
  if (found !== undefined) return requireReady(found);
  if (paths !== null && text !== '') {
    const path = absolutePath(text, paths);
    if ((await disk.facts(path)) !== null) return requireReady(await inspectPath(disk, path));
  }
  throw notOnDisk(text, reference !== null);
}
