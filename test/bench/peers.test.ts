import { describe, expect, it } from 'vitest';
import { prepareLlama } from '../../bench/peers/llama.ts';
import { prepareMlxLm } from '../../bench/peers/mlx-lm.ts';

describe('peers', () => {
  it('say why they are absent, and install nothing, for a foreign model', async () => {
    const nowhere = '/nonexistent/cache';
    expect(await prepareLlama('/nonexistent', nowhere, '/models/folder')).toEqual({
      name: 'node-llama-cpp',
      absent: 'it reads .gguf files only',
    });
    expect(await prepareMlxLm('/nonexistent', nowhere, '/models/folder')).toEqual({
      name: 'mlx-lm',
      absent: 'its worker converts .gguf files only',
    });
  });
});
