import { join } from 'node:path';
import { install } from './install.ts';
import type { Prepared } from './subject.ts';
import { WorkerSubject } from './worker-subject.ts';

const version = '3.22.1';
const name = 'node-llama-cpp';
/** llama.cpp reads nothing else. */
const ending = '.gguf';

/**
 * llama.cpp as people get it in Node: node-llama-cpp with its prebuilt library for this processor,
 * chosen at run time. Installed by name into a folder of its own and without install scripts,
 * which would compile; of its packages only the one for a CPU like this one.
 */
export async function prepareLlama(root: string, cache: string, model: string): Promise<Prepared> {
  if (!model.endsWith(ending)) return { name, absent: `it reads ${ending} files only` };
  const folder = join(cache, 'bench/llama');
  const machine = process.platform === 'darwin' ? 'mac-arm64-metal' : `linux-${process.arch}`;
  const flags = ['--no-audit', '--no-fund', '--ignore-scripts', '--omit=optional'];
  const packages = [`${name}@${version}`, `@${name}/${machine}@${version}`];
  const absent = await install({
    folder,
    mark: version,
    steps: [['npm', 'install', '--prefix', folder, ...flags, ...packages]],
  });
  if (absent !== null) return { name, absent };
  const library = join(folder, 'node_modules', name, 'dist/index.js');
  return new WorkerSubject({
    name,
    version,
    maxSequences: 64,
    model,
    command: ({ threads, sequences, contextLength }) => {
      const settings = { library, model, threads, sequences, contextLength };
      return {
        program: process.execPath,
        args: [join(root, 'build/bench/bench/llama-worker.js'), JSON.stringify(settings)],
      };
    },
  });
}
