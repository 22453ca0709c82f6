import { CideryError, errorMessage } from '../base/error.ts';

const known: Readonly<Record<string, { code: string; says: string; hint: string }>> = {
  ENOSPC: {
    code: 'disk_full',
    says: 'the disk is full',
    hint: 'free some space (`cidery rm MODEL` deletes a model) and try again',
  },
  EDQUOT: {
    code: 'disk_full',
    says: 'the disk quota is used up',
    hint: 'free some space (`cidery rm MODEL` deletes a model) and try again',
  },
  EACCES: {
    code: 'disk_denied',
    says: 'this user may not do that',
    hint: 'check who owns the folder and its permissions',
  },
  EPERM: {
    code: 'disk_denied',
    says: 'this user may not do that',
    hint: 'check who owns the folder and its permissions',
  },
  EROFS: {
    code: 'disk_denied',
    says: 'the file system is read-only',
    hint: 'choose a folder that can be written to',
  },
  ENOENT: {
    code: 'file_missing',
    says: 'there is no such file or folder',
    hint: 'check the path',
  },
};

/** The errno name of a thrown value of node:fs, or undefined. */
export function errnoOf(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}

/**
 * What node:fs threw, as a coded error that names the path: `disk_full`, `disk_denied`,
 * `file_missing`, else `disk_failed`. Coded errors pass unchanged.
 */
export function diskError(error: unknown, path: string): CideryError {
  if (error instanceof CideryError) return error;
  const entry = known[errnoOf(error) ?? ''];
  if (entry !== undefined) {
    return new CideryError(entry.code, `${path}: ${entry.says}`, {
      hint: entry.hint,
      cause: error,
    });
  }
  return new CideryError('disk_failed', `${path}: ${errorMessage(error)}`, {
    hint: 'check the disk; `cidery doctor` says more',
    cause: error,
  });
}
