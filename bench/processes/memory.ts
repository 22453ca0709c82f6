import { readdir, readFile } from 'node:fs/promises';
import { benchLimits } from '../limits.ts';

/**
 * Proportional set size of a process and all that it started, in bytes: private pages in full,
 * shared ones by their share (/proc/PID/smaps_rollup of proc(5)). Processes that leave meanwhile
 * count nothing. Linux only: elsewhere null.
 */
export async function treeMemory(pid: number): Promise<number | null> {
  if (process.platform !== 'linux') return null;
  const sizes = await Promise.all(
    (await processTree(pid)).map(async (id) => {
      const text = await readFile(`/proc/${id}/smaps_rollup`, 'utf8').catch(() => '');
      return pssBytes(text);
    }),
  );
  return sizes.reduce((sum, size) => sum + size, 0);
}

/** 0 where the text has no such line. */
export function pssBytes(rollup: string): number {
  const kilobytes = /^Pss:\s+(\d+) kB$/mu.exec(rollup)?.[1];
  return Number(kilobytes ?? 0) * 1_024;
}

async function processTree(root: number): Promise<number[]> {
  const names = (await readdir('/proc')).filter((name) => /^\d+$/u.test(name));
  const stats = await Promise.all(
    names.map((name) => readFile(`/proc/${name}/stat`, 'utf8').catch(() => '')),
  );
  const parents = new Map(names.map((name, index) => [Number(name), parentOf(stats[index] ?? '')]));
  const isInside = (id: number): boolean => {
    const parent = parents.get(id);
    return id === root || (parent !== undefined && parent > 1 && isInside(parent));
  };
  return [...parents.keys()].filter(isInside);
}

/** The fourth field of /proc/PID/stat; the second is a name that may hold anything. */
export function parentOf(stat: string): number {
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return Number(fields[1] ?? 0);
}

/** The most that the processes hold while something runs, in bytes; null where it is not known. */
export async function peakMemory(pid: number, work: Promise<unknown>): Promise<number | null> {
  const ended = new AbortController();
  const finished = work.finally(() => ended.abort());
  let peak: number | null = null;
  const watch = async () => {
    while (!ended.signal.aborted) {
      const bytes = await treeMemory(pid);
      if (bytes !== null) peak = Math.max(peak ?? 0, bytes);
      await new Promise((resolve) => setTimeout(resolve, benchLimits.memoryIntervalMs));
    }
  };
  await Promise.all([finished, watch()]);
  return peak;
}
