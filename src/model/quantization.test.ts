import { describe, expect, it } from 'vitest';
import { readQuantization } from './quantization.ts';

describe('readQuantization', () => {
  it('reads defaults and entries by path', () => {
    const read = readQuantization({
      quantization: {
        group_size: 64,
        bits: 4,
        mode: 'affine',
        'model.embed_tokens': { group_size: 32, bits: 8 },
        'model.layers.0.mlp.gate': false,
        lm_head: { mode: 'mxfp4', group_size: 32, bits: 4 },
      },
    });
    expect(read).toEqual({
      storage: { kind: 'affine', bits: 4, group: 64 },
      byModule: new Map([
        ['model.embed_tokens', { kind: 'affine', bits: 8, group: 32 }],
        ['model.layers.0.mlp.gate', { kind: 'dense' }],
        ['lm_head', { kind: 'mxfp4' }],
      ]),
    });
  });

  it('is null for plain models', () => {
    expect(readQuantization({})).toBeNull();
    expect(readQuantization({ quantization: null, quantization_config: null })).toBeNull();
  });

  it('reads what mlx-lm wrote under the older name', () => {
    const quantization_config = { group_size: 32, bits: 6 };
    expect(readQuantization({ quantization_config })?.storage).toEqual({
      kind: 'affine',
      bits: 6,
      group: 32,
    });
    const mxfp4 = { quantization_config: { quant_method: 'mxfp4' } };
    expect(readQuantization(mxfp4)?.storage).toEqual({ kind: 'mxfp4' });
  });

  it.each([
    [{ quantization_config: { quant_method: 'gptq', bits: 4, group_size: 128 } }, /'gptq'/],
    [{ quantization: { mode: 'nvfp4', bits: 4, group_size: 16 } }, /'nvfp4'/],
    [{ quantization: { bits: 7, group_size: 64 } }, /quantization\.bits: is 7/],
    [{ quantization: { bits: 4, group_size: 48 } }, /quantization\.group_size: is 48/],
    [{ quantization: { bits: 4, group_size: 64, a: { bits: 4 } } }, /a\.group_size: is missing/],
    [{ quantization: 4 }, /config\.json: quantization: /],
  ])('refuses %j', (config, message) => {
    expect(() => readQuantization(config)).toThrow(message);
  });
});
