/** A lock that is held; it ends with `release` or with the process that holds it. */
export interface FileLock {
  release(): Promise<void>;
}

/**
 * Takes the lock at a path (whose folder exists) or returns null when somebody else, in this
 * process or another, holds it. It keeps two processes from doing the same work twice; what it
 * guards must stay right even when a machine that was asleep wakes up and goes on (write to a
 * temporary name, check, rename).
 */
export type TryLock = (path: string) => Promise<FileLock | null>;
