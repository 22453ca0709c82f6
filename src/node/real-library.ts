import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { CideryError } from '../base/error.ts';
import { limits } from '../base/limits.ts';
import type { ModelManifest } from '../model/manifest.ts';
import { tryFileLock } from '../platform/file-lock.ts';
import { realClock } from '../platform/real-clock.ts';
import { runCommand } from '../platform/real-command.ts';
import { realDisk } from '../platform/real-disk.ts';
import { realFetch } from '../platform/real-fetch.ts';
import {
  type ModelFolders,
  modelFolders,
  type ModelOnDisk as Found,
} from '../store/cache/folders.ts';
import { rememberLocalModel } from '../store/cache/local-models.ts';
import { removeModel } from '../store/cache/remove-model.ts';
import { resolveModel } from '../store/cache/resolve-model.ts';
import { scanModels } from '../store/cache/scan.ts';
import { catalogueEntry } from '../store/catalogue.ts';
import { pullFromHub } from '../store/hub/pull.ts';
import { requireRepository } from '../store/hub/repository.ts';
import { type Environment, type HubSettings, readHubSettings } from '../store/hub/settings.ts';
import { keptManifest } from '../store/kept-manifest.ts';
import type { OnPullEvent } from '../store/pull-progress.ts';
import { pullCatalogueModel } from '../store/starter/pull-starter.ts';
import { manifestInThread } from './manifest-thread.ts';
import type { ModelLibrary, ModelOnDisk, PullProgress } from './model-library.ts';

const ports = {
  disk: realDisk,
  fetch: realFetch,
  clock: realClock,
  random: Math.random,
  tryLock: tryFileLock,
  run: runCommand,
};

/**
 * The library on this machine's disk, with the hub that the environment names.
 *
 * @param manifestScript the compiled manifest-worker
 */
export function realLibrary(
  home: string,
  environment: Environment,
  userHome: string,
  manifestScript: URL,
): ModelLibrary {
  const hub = readHubSettings(environment, userHome);
  const folders = modelFolders(home, hub.cacheFolder);
  const resolve = async (name: string) =>
    withDate(await resolveModel(realDisk, folders, name, null));
  return {
    resolve,
    list: async () => Promise.all((await scanModels(realDisk, folders)).map(withDate)),
    admit: async (reference) => {
      const rules = { workingFolder: process.cwd(), userHome };
      const model = await resolveModel(realDisk, folders, reference, rules);
      if (model.origin === 'linked') await rememberLocalModel(realDisk, folders, model);
      return withDate(model);
    },
    manifest: (model) => manifestOf(model, manifestScript, join(home, 'models', 'local')),
    pull: async (name, onProgress, signal) => {
      await pull(folders, hub, name, { signal, onEvent: progressOf(onProgress) });
      return resolve(name);
    },
    remove: (id) => removeModel(realDisk, folders, id),
  };
}

async function manifestOf(model: ModelOnDisk, script: URL, folder: string): Promise<ModelManifest> {
  const read = () => manifestInThread(script, model, join(folder, '.tokenizers'));
  // A folder's manifest is made of many small files, which are quick to read.
  if (model.kind !== 'gguf') return read();
  // It names the files that it imports by their hashes.
  const code = await realDisk.readText(fileURLToPath(script), limits.manifestScriptMaxBytes);
  const maker = createHash('sha256').update(code).digest('hex');
  return keptManifest(realDisk, join(folder, '.manifests'), maker, model, read);
}

async function pull(
  folders: ModelFolders,
  hub: HubSettings,
  name: string,
  options: { signal: AbortSignal; onEvent: OnPullEvent },
): Promise<void> {
  const entry = catalogueEntry(name);
  if (entry !== undefined) await pullCatalogueModel(ports, folders, entry, options);
  else if (name.startsWith('local/')) {
    throw new CideryError('model_not_found', `${name} names a folder or file of this machine`, {
      hint: 'copy the model there, or name one of the hub as org/name',
    });
  } else await pullFromHub(ports, hub, requireRepository(name), options);
}

function progressOf(onProgress: (progress: PullProgress) => void): OnPullEvent {
  return (event) => {
    if (event.kind !== 'progress') return;
    const { bytes, totalBytes, bytesPerS } = event;
    onProgress({ doneBytes: bytes, totalBytes, bytesPerS });
  };
}

async function withDate(model: Found): Promise<ModelOnDisk> {
  const facts = await realDisk.facts(model.path);
  const { id, kind, path, sizeBytes, state } = model;
  return { id, kind, path, sizeBytes, state, modifiedMs: facts?.modifiedMs ?? 0 };
}
