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

/** An error as it goes from one process or thread to another. */
export interface Fault {
  readonly code: string;
  readonly message: string;
  readonly hint: string | null;
}

/** Any thrown value as a fault; one without a code of its own gets `otherCode`. */
export function faultOf(error: unknown, otherCode = 'internal'): Fault {
  const message = errorMessage(error);
  if (!(error instanceof CideryError)) return { code: otherCode, message, hint: null };
  return { code: error.code, message, hint: error.hint ?? null };
}

/** A fault as the error that it was. */
export function faultError({ code, message, hint }: Fault): CideryError {
  return new CideryError(code, message, hint === null ? {} : { hint });
}

/** A condition that only a bug in cidery can break. */
export function invariant(condition: unknown, message: string): asserts condition {
  if (!condition) throw new CideryError('internal', `bug in cidery: ${message}`);
}
