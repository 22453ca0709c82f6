import { join } from 'node:path';
import { CideryError } from '../../src/base/error.ts';
import { runCommand } from '../../src/platform/real-command.ts';
import { benchLimits } from '../limits.ts';

export type RoofKind = 'read' | 'multiply';

/** What the machine itself can do, measured by a small program: see roof.cpp. */
export interface Roof {
  /** Of all threads together: GB/s for `read`, GMAC/s (int8) for `multiply`. */
  measure(kind: RoofKind, threads: number): Promise<number>;
}

/**
 * Compiles roof.cpp for this very processor; always anew, as a cache may have come from another.
 * @throws CideryError `roof_unavailable` with what the compiler said.
 */
export async function buildRoof(root: string, folder: string): Promise<Roof> {
  const source = join(root, 'bench/machine/roof.cpp');
  const program = join(folder, 'roof');
  const compiler = process.env['CXX'] ?? 'c++';
  const flags = ['-std=c++20', '-O3', '-march=native', '-pthread', source, '-o', program];
  await run(compiler, flags);
  return {
    measure: async (kind, threads) => Number(await run(program, [kind, `${threads}`])),
  };
}

async function run(program: string, args: readonly string[]): Promise<string> {
  const { status, output } = await runCommand(program, args, {
    outputMaxBytes: benchLimits.commandOutputMaxBytes,
    signal: AbortSignal.timeout(benchLimits.compileMs),
  });
  if (status === 0) return output;
  throw new CideryError('roof_unavailable', `${program} ended with ${status}: ${output}`);
}
