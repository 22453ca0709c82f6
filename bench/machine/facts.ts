import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { availableParallelism, cpus, loadavg, totalmem } from 'node:os';
import { promisify } from 'node:util';

/** What a figure is worth nothing without. */
export interface Facts {
  readonly processor: string;
  readonly cores: number;
  /** The vector extensions that kernels choose by. */
  readonly flags: readonly string[];
  readonly memoryBytes: number;
  /** Of the last minute, before and after the run: other work makes figures worthless. */
  readonly loadBefore: number;
  readonly loadAfter: number;
  /** With `+` where the checkout has changes of its own. */
  readonly commit: string;
}

const flagsOfNote = [
  'f16c',
  'avx2',
  'avx_vnni',
  'avx512f',
  'avx512_vnni',
  'avx512_bf16',
  'amx_int8',
  'asimddp',
  'i8mm',
  'sve',
] as const;

export async function machineBefore(root: string): Promise<Omit<Facts, 'loadAfter'>> {
  return {
    processor: cpus()[0]?.model.trim() ?? 'unknown',
    cores: availableParallelism(),
    flags: flagsIn(await readText('/proc/cpuinfo')),
    memoryBytes: totalmem(),
    loadBefore: load(),
    commit: await commit(root),
  };
}

export function load(): number {
  return loadavg()[0] ?? 0;
}

/** Of the first processor in the text of /proc/cpuinfo (`flags` on x86, `Features` on ARM). */
export function flagsIn(cpuinfo: string): string[] {
  const line = /^(?:flags|Features)\s*:(.*)$/mu.exec(cpuinfo)?.[1] ?? '';
  const has = new Set(line.trim().split(/\s+/u));
  return flagsOfNote.filter((flag) => has.has(flag));
}

/** Empty on systems without the file. */
async function readText(path: string): Promise<string> {
  return readFile(path, 'utf8').catch(() => '');
}

async function commit(root: string): Promise<string> {
  const git = async (...args: string[]) =>
    (await promisify(execFile)('git', ['-C', root, ...args])).stdout.trim();
  try {
    const head = await git('rev-parse', '--short=12', 'HEAD');
    return (await git('status', '--porcelain')) === '' ? head : `${head}+`;
  } catch {
    return 'unknown (no git checkout)';
  }
}
