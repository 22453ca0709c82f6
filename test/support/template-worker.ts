import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { build } from 'rolldown';

const source = fileURLToPath(new URL('../../src/text/template-worker.ts', import.meta.url));

export interface CompiledWorker {
  readonly script: URL;
  readonly remove: () => void;
}

/**
 * For tests: compiles the template worker from its sources as they are now, as Node 20 runs no
 * TypeScript. `remove` takes the folder away again.
 */
export async function compileTemplateWorker(): Promise<CompiledWorker> {
  const folder = mkdtempSync(join(tmpdir(), 'cidery-worker-'));
  const file = join(folder, 'template-worker.js');
  writeFileSync(join(folder, 'package.json'), '{"type":"module"}');
  await build({
    input: source,
    platform: 'node',
    output: { file, format: 'esm' },
    logLevel: 'warn',
  });
  return { script: pathToFileURL(file), remove: () => rmSync(folder, { recursive: true }) };
}
