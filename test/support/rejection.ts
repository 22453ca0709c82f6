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

/** Numbers from 0 to `limit` - 1 that are the same in every run (mulberry32). */
export function seededNumbers(seed: number): (limit: number) => number {
  let state = seed >>> 0;
  return (limit) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * limit);
  };
}
