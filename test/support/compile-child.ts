import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { build } from 'rolldown';
import { forNode } from '../../scripts/setup/bundle.mjs';

const root = join(import.meta.dirname, '..', '..');

/** A TypeScript file and what it imports, compiled for a plain Node process. */
export interface CompiledChild {
  /** The file to run with node. */
  readonly script: string;
  remove(): Promise<void>;
}

/**
 * Compiles a script of this project (path from its root) as it is now into a folder under build/,
 * where imports of packages still resolve; Node 20 does not run TypeScript itself. The script lies
 * as deep below the root as dist/ has it.
 */
export async function compileChild(source: string): Promise<CompiledChild> {
  await mkdir(join(root, 'build'), { recursive: true });
  const folder = await mkdtemp(join(root, 'build', 'child-'));
  const script = join(folder, 'child.js');
  await build({
    input: join(root, source),
    ...forNode,
    output: { file: script, format: 'esm' },
    logLevel: 'warn',
  });
  return { script, remove: () => rm(folder, { recursive: true }) };
}
