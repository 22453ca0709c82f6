/**
 * A failure of the set-up that a person can mend: a message that says what is wrong and a hint that
 * says what to do. Anything else that is thrown is a bug, or a system error that `explain` words.
 */
export class SetupError extends Error {
  /**
   * @param {string} message what is wrong, without a full stop
   * @param {string} hint what to do about it, without a full stop
   */
  constructor(message, hint) {
    super(message);
    this.name = 'SetupError';
    this.hint = hint;
  }
}

/** Thrown where a signal ended the set-up. */
export class InterruptedError extends Error {
  constructor() {
    super('interrupted; the next set-up goes on from here');
    this.name = 'InterruptedError';
  }
}

const diskFull = 'the disk is full';
const diskFullHint = 'free some space (the set-up needs about 1 GB) and try again';

/** @type {Record<string, [message: string, hint: string]>} */
const systemErrors = {
  ENOSPC: [diskFull, diskFullHint],
  EDQUOT: ['the disk quota is used up', diskFullHint],
  EACCES: ['no permission to write', 'make the folder writable for this user, or name another'],
  EPERM: ['not allowed to write', 'make the folder writable for this user, or name another'],
  EROFS: ['the file system is read-only', 'use a checkout and a CIDERY_CACHE that can be written'],
  EMFILE: ['too many open files', 'raise the limit with `ulimit -n 4096` and try again'],
};

/**
 * Whether a program's output says that the disk is full: compilers, npm and pip each end with an
 * ordinary failure then.
 * @param {string} output
 */
export function saysDiskFull(output) {
  return /ENOSPC|No space left on device|Errno 28\b|Disk quota exceeded/u.test(output);
}

/** The error for a program that ran out of disk. */
export function diskFullError() {
  return new SetupError(diskFull, diskFullHint);
}

/**
 * One sentence for a person: what is wrong, then what to do.
 * @param {unknown} error
 */
export function explain(error) {
  if (error instanceof SetupError) return `${error.message}: ${error.hint}`;
  if (!(error instanceof Error)) return String(error);
  const code = 'code' in error && typeof error.code === 'string' ? error.code : '';
  const known = systemErrors[code];
  if (known === undefined) return error.message;
  const path = 'path' in error && typeof error.path === 'string' ? ` (${error.path})` : '';
  return `${known[0]}${path}: ${known[1]}`;
}
