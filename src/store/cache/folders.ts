import { join } from 'node:path';
import type { ModelId } from '../../base/ids.ts';

/** Where models lie on this machine. */
export interface ModelFolders {
  /**
   * `CIDERY_HOME/models`: `starter/` (catalogue), `local/` (links to users' paths), and imported
   * models.
   */
  readonly models: string;
  /** The Hugging Face cache. */
  readonly hubCache: string;
}

export function modelFolders(home: string, hubCache: string): ModelFolders {
  return { models: join(home, 'models'), hubCache };
}

export function starterFolder(folders: ModelFolders): string {
  return join(folders.models, 'starter');
}

export function localFolder(folders: ModelFolders): string {
  return join(folders.models, 'local');
}

/** A model on this disk. */
export interface ModelOnDisk {
  readonly id: ModelId;
  /** `imported` lies in CIDERY_HOME, `linked` where its user keeps it. */
  readonly origin: 'catalogue' | 'hub' | 'imported' | 'linked';
  readonly kind: 'safetensors' | 'gguf';
  /** The folder, or the (first) .gguf file. */
  readonly path: string;
  /** The files of weights, absolute, in order. */
  readonly weights: readonly string[];
  readonly sizeBytes: number;
  readonly state: 'ready' | 'partial';
  /** The commit, for a model of the hub. */
  readonly revision: string | null;
}
