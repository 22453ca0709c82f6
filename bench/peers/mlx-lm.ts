import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { install } from './install.ts';
import type { Prepared } from './subject.ts';
import { WorkerSubject } from './worker-subject.ts';

const name = 'mlx-lm';

/**
 * mlx-lm on the CPU in f32, with the file's own 4-bit groups where they are affine, as the goldens
 * have it; in the goldens' versions.
 */
export async function prepareMlxLm(root: string, cache: string, model: string): Promise<Prepared> {
  if (!model.endsWith('.gguf')) return { name, absent: 'its worker converts .gguf files only' };
  const requirements = join(root, 'test/golden/requirements.txt');
  const text = await readFile(requirements, 'utf8');
  const version = /^mlx-lm==(\S+)$/mu.exec(text)?.[1] ?? 'unknown';
  const folder = join(cache, 'bench/mlx-lm');
  const python = join(folder, 'bin/python');
  const flags = ['--quiet', '--disable-pip-version-check'];
  const absent = await install({
    folder,
    mark: createHash('sha256').update(text).digest('hex').slice(0, 16),
    steps: [
      ['python3', '-m', 'venv', folder],
      [python, '-m', 'pip', 'install', ...flags, '-r', requirements],
    ],
  });
  if (absent !== null) return { name, absent };
  return new WorkerSubject({
    name,
    version,
    maxSequences: 1,
    model,
    command: ({ threads }) => ({
      program: python,
      args: [join(root, 'bench/peers/mlx_lm_worker.py'), model, join(root, 'test/golden')],
      environment: {
        HF_HUB_OFFLINE: '1',
        PYTHONDONTWRITEBYTECODE: '1',
        OMP_NUM_THREADS: `${threads}`,
        OPENBLAS_NUM_THREADS: `${threads}`,
      },
    }),
  });
}
