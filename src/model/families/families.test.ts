import { describe, expect, it } from 'vitest';
import { CideryError } from '../../base/error.ts';
import type { Config } from '../config.ts';
import { buildModel } from '../model.ts';
import type { LayerSpec } from '../spec.ts';
import { programText, smallConfigs } from '../testing.ts';
import { supportedModelTypes } from './index.ts';
import { toBfloat16 } from './gemma3-text.ts';

const { llama, mistral, iquestcoder, mistral3, gemma3, smollm3, gemma3_text, phi3, qwen3 } =
  smallConfigs;
const specOf = (config: Config) => buildModel({ config }).spec;

function refusal(config: Config): string {
  try {
    buildModel({ config });
  } catch (error) {
    if (error instanceof CideryError) return `${error.code}: ${error.message}`;
    throw error;
  }
  return 'accepted';
}

describe('the program of every family', () => {
  const particular = Object.entries(smallConfigs).filter(
    ([name]) => !['mistral', 'iquestcoder', 'mistral3', 'gemma3'].includes(name),
  );
  it.each(particular)('%s', (_, config) => {
    const { spec, program } = buildModel({ config });
    expect(
      `${spec.family} context ${spec.contextLength}\n${programText(program)}\n`,
    ).toMatchSnapshot();
  });

  it('has a small config here for every supported type', () => {
    expect(Object.keys(smallConfigs).sort()).toEqual([...supportedModelTypes].sort());
  });
});

describe('names for the same architecture', () => {
  it('serves mistral as llama, whose window counts only with layer_types', () => {
    const asLlama = { ...mistral, model_type: 'llama' };
    expect(specOf(mistral)).toEqual(specOf(asLlama));
    expect(specOf(mistral).layers.map(({ mixer }) => mixer.window)).toEqual([0]);
    const typed = { ...mistral, layer_types: ['sliding_attention'] };
    expect(specOf(typed).layers.map(({ mixer }) => mixer.window)).toEqual([8]);
  });

  it('serves iquestcoder as llama', () => {
    expect(specOf(iquestcoder)).toEqual(specOf({ ...iquestcoder, model_type: 'llama' }));
  });

  it('finds the language model inside a wrapper', () => {
    const inner = specOf({ ...mistral3.text_config, tie_word_embeddings: false });
    const wrapped = specOf(mistral3);
    expect({ ...wrapped, prefix: '', tensorNames: inner.tensorNames }).toEqual(inner);
    expect(wrapped.prefix).toBe('language_model.');
    const text = { ...gemma3.text_config, vocab_size: 50 };
    expect({ ...specOf(gemma3), prefix: '', tensorNames: inner.tensorNames }).toEqual(specOf(text));
  });

  it('gives a gemma3 wrapper its own defaults', () => {
    const { layers, vocabulary, width } = specOf({ model_type: 'gemma3', text_config: {} });
    const mixer = layers[0]?.mixer;
    expect([layers.length, vocabulary, width, mixer?.heads, mixer?.keyHeads]).toEqual([
      26, 262_208, 1152, 8, 4,
    ]);
  });
});

describe('rules of a family', () => {
  it('leaves positions out of some smollm3 layers', () => {
    const rotated = (config: Config) =>
      specOf(config).layers.map(({ mixer }) => mixer.rope !== null);
    expect(rotated(smollm3)).toEqual([true, false]);
    const interval = { ...smollm3, no_rope_layers: null, num_hidden_layers: 5 };
    expect(rotated(interval)).toEqual([true, true, true, false, true]);
  });

  it('ties gemma3 unless the file has a head', () => {
    const names = buildModel({ config: gemma3_text }).parameters.map(({ path }) => path);
    expect(names).not.toContain('lm_head.weight');
    expect(specOf(gemma3_text).head.tied).toBe(true);
  });

  it('reads the rope parameters that transformers 5 nests for each type of layer', () => {
    const nested = {
      ...gemma3_text,
      rope_scaling: null,
      rope_parameters: {
        full_attention: { rope_theta: 2e6, rope_type: 'linear', factor: 4 },
        sliding_attention: { rope_theta: 2e4, rope_type: 'default' },
      },
    };
    const ropes = specOf(nested).layers.map(({ mixer }) => [mixer.rope?.base, mixer.rope?.scale]);
    expect(ropes).toEqual([
      [2e4, 1],
      [2e6, 0.25],
    ]);
  });

  it("rounds gemma3's embedding factor as bfloat16", () => {
    const rounded = [96, 640, 1152, 2560, 3840, 5376].map((width) => toBfloat16(Math.sqrt(width)));
    expect(rounded).toEqual([9.8125, 25.25, 34, 50.5, 62, 73.5]);
  });

  it('runs a phi3 with a scaling that mlx-lm does not know unscaled', () => {
    const rope = ({ mixer }: LayerSpec) => mixer.rope;
    const unknown = { ...phi3, rope_scaling: { type: 'yarn', long_factor: [1] } };
    const none = { ...phi3, rope_scaling: null };
    expect(specOf(unknown).layers.map(rope)).toEqual(specOf(none).layers.map(rope));
  });

  it('switches gemma2 caps off where they are null', () => {
    const { head, layers } = specOf({
      ...smallConfigs.gemma2,
      attn_logit_softcapping: null,
      final_logit_softcapping: null,
    });
    expect([head.softcap, layers[0]?.mixer.softcap]).toEqual([0, 0]);
  });
});

describe('configs that are refused, by the key that is wrong', () => {
  it.each<[string, Config, string]>([
    ['an unknown type', { model_type: 'rwkv7' }, "model_unsupported: models of type 'rwkv7'"],
    ['a type of the runtime', { model_type: 'constructor' }, 'model_unsupported: '],
    ['no type', {}, 'model_config_invalid: config.json: model_type: '],
    [
      'a missing key',
      { ...llama, hidden_size: undefined },
      'model_config_invalid: config.json: hidden_size',
    ],
    [
      'heads that do not share',
      { ...llama, num_key_value_heads: 3 },
      'model_config_invalid: config.json: num_key_value_heads',
    ],
    ['an odd head', { ...llama, head_dim: 15 }, 'model_config_invalid: config.json: head_dim'],
    [
      'more heads than width',
      { ...llama, hidden_size: 2 },
      'model_config_invalid: config.json: num_attention_heads',
    ],
    [
      'too few layer types',
      { ...llama, layer_types: [] },
      'model_config_invalid: config.json: layer_types',
    ],
    [
      'an unknown layer type',
      { ...llama, layer_types: ['chunked'] },
      'model_config_invalid: config.json: layer_types',
    ],
    [
      'a window that is missing',
      { ...llama, layer_types: ['sliding_attention'] },
      'model_config_invalid: config.json: sliding_window',
    ],
    [
      'an absurd vocabulary',
      { ...llama, vocab_size: 1e12 },
      'model_config_invalid: config.json: vocab_size',
    ],
    [
      'absurd heads',
      { ...llama, num_attention_heads: 8192, num_key_value_heads: 1, head_dim: 8192 },
      'model_config_invalid: config.json: head_dim',
    ],
    [
      'half a layer',
      { ...llama, num_hidden_layers: 1.5 },
      'model_config_invalid: config.json: num_hidden_layers',
    ],
    [
      'an unknown rope',
      { ...llama, rope_scaling: { type: 'spiral' } },
      'model_config_invalid: config.json: rope_scaling.type',
    ],
    [
      'a rope without its factor',
      { ...llama, rope_scaling: { type: 'linear' } },
      'model_config_invalid: config.json: rope_scaling.factor',
    ],
    [
      'no theta',
      { ...qwen3, rope_parameters: null },
      'model_config_invalid: config.json: rope_theta',
    ],
    [
      'smollm3 layers',
      { ...smollm3, no_rope_layers: [1] },
      'model_config_invalid: config.json: no_rope_layers',
    ],
    [
      'cohere2 heads',
      { ...smallConfigs.cohere2, head_dim: 8 },
      'model_config_invalid: config.json: hidden_size',
    ],
    [
      'longrope of a wrong length',
      { ...phi3, partial_rotary_factor: 0.5 },
      'model_config_invalid: config.json: rope_scaling.long_factor',
    ],
    [
      'a wrapper around something else',
      { ...mistral3, text_config: { model_type: 'mistral4' } },
      "model_unsupported: a mistral3 model around 'mistral4'",
    ],
    [
      'a wrapper around nothing',
      { model_type: 'gemma3' },
      'model_config_invalid: config.json: text_config',
    ],
  ])('%s', (_, config, start) => {
    expect(refusal(config).slice(0, start.length)).toBe(start);
  });
});
