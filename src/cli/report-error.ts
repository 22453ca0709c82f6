import { CideryError, errorCode, errorMessage } from '../base/error.ts';

/** Ends a command with status 1 after its own output has said what is wrong. */
export class AlreadyReported extends Error {}

/** What went wrong, as one line on standard error, and as a value where JSON was asked for. */
export function reportError(error: unknown, json: boolean): void {
  process.stderr.write(`cidery: ${errorLine(error)}\n`);
  if (json) process.stdout.write(`${JSON.stringify({ error: errorValue(error) })}\n`);
}

/** The message and what to do, on one line. */
export function errorLine(error: unknown): string {
  const hint = error instanceof CideryError ? error.hint : undefined;
  const text = hint === undefined ? errorMessage(error) : `${errorMessage(error)}; ${hint}`;
  return text.replaceAll(/\s*\n\s*/g, ' ');
}

/** The form in which the node's own API shows errors. */
export function errorValue(error: unknown): { code: string; message: string; hint?: string } {
  const hint = error instanceof CideryError ? error.hint : undefined;
  const value = { code: errorCode(error), message: errorMessage(error) };
  return hint === undefined ? value : { ...value, hint };
}
