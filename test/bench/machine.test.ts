import { describe, expect, it } from 'vitest';
import { flagsIn } from '../../bench/machine/facts.ts';
import { parentOf, peakMemory, pssBytes, treeMemory } from '../../bench/processes/memory.ts';

const linux = process.platform === 'linux';

describe('facts of the machine', () => {
  it('name the flags that kernels choose by, whole words of them', () => {
    const x86 =
      'processor\t: 0\nflags\t\t: fpu avx avx2 avx512f avx512_vnni xavx_vnni\nflags: f16c\n';
    expect(flagsIn(x86)).toEqual(['avx2', 'avx512f', 'avx512_vnni']);
    expect(flagsIn('Features\t: fp asimd asimddp i8mm\n')).toEqual(['asimddp', 'i8mm']);
    expect(flagsIn('')).toEqual([]);
  });
});

describe('memory of processes', () => {
  it('is read from smaps_rollup', () => {
    expect(
      pssBytes('00-ff ---p 0 00:00 0 [rollup]\nRss: 9 kB\nPss:     12 kB\nPss_Anon: 4 kB\n'),
    ).toBe(12_288);
    expect(pssBytes('')).toBe(0);
  });

  it('follows parents, whatever a process calls itself', () => {
    expect(parentOf('12 (node) S 7 12 12 0')).toBe(7);
    expect(parentOf('12 (a) b (c) 1 2) S 7 12 12 0')).toBe(7);
  });

  it('counts a process and its children', async () => {
    const bytes = await treeMemory(process.pid);
    expect(bytes === null ? 'no smaps_rollup' : bytes > 1e6).toBe(linux ? true : 'no smaps_rollup');
  });

  it('hands on what the watched work fails with', async () => {
    const work = Promise.reject(new Error('no work'));
    await expect(peakMemory(process.pid, work)).rejects.toThrow('no work');
  });
});
