import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

const root = join(import.meta.dirname, '..', '..');

/** A TypeScript file and what it imports, compiled for a plain Node process. */
export interface CompiledChild {
  /** The file to run with node. */
  readonly script: string;
  remove(): Promise<void>;
}

/**
 * Compiles a script of this project (path from its root) into a folder under build/, where imports
 * of packages still resolve; Node 20 does not run TypeScript itself.
 */
export async function compileChild(source: string): Promise<CompiledChild> {
  await mkdir(join(root, 'build'), { recursive: true });
  const folder = await mkdtemp(join(root, 'build', 'child-'));
  const configuration = {
    extends: '../../tsconfig.json',
    compilerOptions: {
      noEmit: false,
      allowImportingTsExtensions: false,
      rewriteRelativeImportExtensions: true,
      noCheck: true,
      rootDir: '../..',
      outDir: 'out',
    },
    include: [],
    files: [`../../${source}`],
  };
  await writeFile(join(folder, 'tsconfig.json'), JSON.stringify(configuration));
  const compiler = join(root, 'node_modules', '.bin', 'tsc');
  await promisify(execFile)(compiler, ['-p', folder]);
  return {
    script: join(folder, 'out', source.replace(/\.ts$/, '.js')),
    remove: () => rm(folder, { recursive: true }),
  };
}
