import { CideryError } from '../../src/base/error.ts';

/** Code and message of the CideryError that the promise ends with; anything else is thrown on. */
export async function rejection(
  promise: Promise<unknown>,
): Promise<{ code: string; message: string }> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof CideryError) return { code: error.code, message: error.message };
    throw error;
  }
  throw new Error('nothing was refused');
}
