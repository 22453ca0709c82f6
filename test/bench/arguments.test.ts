import { describe, expect, it } from 'vitest';
import { parseArguments } from '../../bench/arguments.ts';
import { enginePeers } from '../../bench/measures/measure.ts';
import { rejection } from '../support/rejection.ts';

const names = [
  { name: 'decode', peers: enginePeers },
  { name: 'serve', peers: enginePeers },
  { name: 'ranks', peers: ['ring'] },
] as const;

describe('the arguments of the bench', () => {
  it('have defaults', () => {
    expect(parseArguments(['decode'], names)).toEqual({
      name: 'decode',
      rounds: null,
      json: null,
      executor: null,
      threads: 1,
      precise: false,
      against: ['llama'],
      model: null,
      cases: null,
      limitMs: 300_000,
    });
  });

  it('take all flags', () => {
    const text =
      'serve --rounds 3 --json a.json --executor cpu --threads 2 --precise ' +
      '--against llama,mlx-lm --model m.gguf --cases 64,512 --limit 20';
    expect(parseArguments(text.split(' '), names)).toEqual({
      name: 'serve',
      rounds: 3,
      json: 'a.json',
      executor: 'cpu',
      threads: 2,
      precise: true,
      against: ['llama', 'mlx-lm'],
      model: 'm.gguf',
      cases: [64, 512],
      limitMs: 20_000,
    });
    expect(parseArguments(['decode', '--against', 'none'], names).against).toEqual([]);
    expect(parseArguments(['ranks'], names).against).toEqual(['ring']);
  });

  it.each([
    [[], 'name one of decode, serve, ranks'],
    [['speed'], 'name one of decode, serve, ranks'],
    [['decode', 'serve'], 'name one of decode, serve, ranks'],
    [['decode', '--rounds', '0'], "--rounds takes a whole number above 0, not '0'"],
    [['decode', '--threads', '1.5'], "--threads takes a whole number above 0, not '1.5'"],
    [['decode', '--cases', '64,'], "--cases takes a whole number above 0, not ''"],
    [['decode', '--executor', 'gpu'], '--executor is cpu or mlx, not gpu'],
    [['decode', '--against', 'vllm'], "--against of decode knows llama, mlx-lm, not 'vllm'"],
    [['ranks', '--against', 'llama'], "--against of ranks knows ring, not 'llama'"],
  ])('%j are refused', async (argv, message) => {
    const refused = rejection(Promise.resolve().then(() => parseArguments(argv, names)));
    expect(await refused).toEqual({ code: 'usage', message });
  });
});
