/**
 * An error that a user or another process may see: a stable code, a message that says what is
 * wrong, and, where there is something to do, a hint that says what.
 */
export class CideryError extends Error {
  readonly code: string;
  readonly hint: string | undefined;
  override readonly name = 'CideryError';

  constructor(code: string, message: string, options: { hint?: string; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? {} : { cause: options.cause });
    this.code = code;
    this.hint = options.hint;
  }
}

/** The code of any thrown value: its own when it has one, else `internal`. */
export function errorCode(error: unknown): string {
  return error instanceof CideryError ? error.code : 'internal';
}

/** The message of any thrown value. */
export function errorMessage(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** A condition that only a bug in cidery can break. */
export function invariant(condition: unknown, message: string): asserts condition {
  if (!condition) throw new CideryError('internal', `bug in cidery: ${message}`);
}
