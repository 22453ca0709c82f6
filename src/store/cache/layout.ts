import { join } from 'node:path';

/**
 * The Hugging Face cache as its Python package lays it out: `models--org--name` with `blobs/HASH`,
 * `snapshots/COMMIT/PATH` (links into blobs) and `refs/REVISION` (a file that holds a commit).
 */
export interface RepositoryFolder {
  readonly repository: string;
  readonly path: string;
  readonly blobs: string;
  readonly snapshots: string;
  readonly refs: string;
  /** Our locks, beside Python's own. */
  readonly locks: string;
}

const prefix = 'models--';

export function repositoryFolder(cacheFolder: string, repository: string): RepositoryFolder {
  const name = prefix + repository.replaceAll('/', '--');
  const path = join(cacheFolder, name);
  return {
    repository,
    path,
    blobs: join(path, 'blobs'),
    snapshots: join(path, 'snapshots'),
    refs: join(path, 'refs'),
    locks: join(cacheFolder, '.locks', name),
  };
}

/** The `org/name` of a folder's name, or null for what is no model of two parts. */
export function repositoryOfFolder(name: string): string | null {
  if (!name.startsWith(prefix)) return null;
  const parts = name.slice(prefix.length).split('--');
  return parts.length === 2 && parts.every((part) => part !== '') ? parts.join('/') : null;
}

/** What a snapshot's link holds: the way from `snapshots/COMMIT/PATH` to the blob. */
export function linkTarget(path: string, blob: string): string {
  const up = '../'.repeat(path.split('/').length + 1);
  return `${up}blobs/${blob}`;
}

/** A commit: the only thing that a snapshot's folder may be called. */
export function isCommit(text: string): boolean {
  return /^[0-9a-f]{40}$/.test(text);
}
