import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));

/**
 * For tests: compiles the template worker from its sources as they are now, as Node 20 runs no
 * TypeScript. `remove` takes the folder away again.
 */
export function compileTemplateWorker(): { script: URL; remove: () => void } {
  const folder = mkdtempSync(join(tmpdir(), 'cidery-worker-'));
  const compilerOptions = { outDir: folder, rootDir: join(root, 'src'), incremental: false };
  const config = {
    extends: join(root, 'tsconfig.build.json'),
    compilerOptions: {
      ...compilerOptions,
      types: ['node'],
      typeRoots: [join(root, 'node_modules/@types')],
    },
    files: [join(root, 'src/text/template-worker.ts')],
    include: [],
  };
  writeFileSync(join(folder, 'package.json'), '{"type":"module"}');
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify(config));
  execFileSync(join(root, 'node_modules/.bin/tsc'), ['-p', folder], { stdio: 'inherit' });
  return {
    script: pathToFileURL(join(folder, 'text/template-worker.js')),
    remove: () => rmSync(folder, { recursive: true }),
  };
}
