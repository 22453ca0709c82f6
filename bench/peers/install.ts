import { existsSync } from 'node:fs';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { errorMessage } from '../../src/base/error.ts';
import { runCommand } from '../../src/platform/real-command.ts';
import { benchLimits } from '../limits.ts';

export interface Installation {
  readonly folder: string;
  /** What is installed: another mark means installing anew. */
  readonly mark: string;
  /** Programs with their arguments, run in order. */
  readonly steps: readonly (readonly [program: string, ...args: string[]])[];
}

/**
 * Runs the steps once for a folder and mark.
 * @returns null when all is there, else the reason why it is not
 */
export async function install({ folder, mark, steps }: Installation): Promise<string | null> {
  const done = join(folder, `.installed-${mark}`);
  if (existsSync(done)) return null;
  process.stderr.write(`installing into ${folder}\n`);
  try {
    await rm(folder, { recursive: true, force: true });
    await mkdir(folder, { recursive: true });
    for (const [program, ...args] of steps) {
      const { status, output } = await runCommand(program, args, {
        outputMaxBytes: benchLimits.commandOutputMaxBytes,
        signal: AbortSignal.timeout(benchLimits.installMs),
      });
      if (status !== 0) return `${program} ended with status ${status}: ${reasonIn(output)}`;
    }
    // Last, so that an interrupted installation starts anew.
    await writeFile(done, '');
    return null;
  } catch (error) {
    return `it cannot be installed: ${errorMessage(error)}`;
  }
}

/** The first line that speaks of an error, else the last one. */
function reasonIn(output: string): string {
  const lines = output.trim().split('\n');
  return lines.find((line) => /error/iu.test(line)) ?? lines.at(-1) ?? '';
}
