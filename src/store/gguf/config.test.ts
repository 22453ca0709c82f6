import { describe, expect, it } from 'vitest';
import { rejection } from '../../../test/support/rejection.ts';
import { ggufArchitecture } from './architectures.ts';
import { ggufConfig } from './config.ts';
import type { GgufTensorFacts } from './family-config.ts';
import { GgufMetadata } from './metadata.ts';
import { llama3Factor } from './rope-factors.ts';
import type { GgufValue } from './values.ts';

type Values = Readonly<Record<string, GgufValue>>;

const f32 = Math.fround;

/** Metadata with the values that every family has, under the architecture's name. */
function configOf(
  architecture: string,
  values: Values = {},
  facts: Partial<GgufTensorFacts> = {},
): Record<string, unknown> {
  const common: Values = {
    block_count: 2,
    context_length: 4096,
    embedding_length: 64,
    feed_forward_length: 128,
    'attention.head_count': 4,
    'attention.head_count_kv': 2,
    'attention.layer_norm_rms_epsilon': f32(1e-6),
  };
  const named = Object.entries({ ...common, ...values }).map(
    ([key, value]) => [`${architecture}.${key}`, value] as const,
  );
  const metadata = new GgufMetadata(
    new Map<string, GgufValue>([['general.architecture', architecture], ...named]),
    'model.gguf',
  );
  return ggufConfig(metadata, ggufArchitecture(architecture, 'model.gguf'), {
    names: new Set(['token_embd.weight', 'output.weight']),
    vocabularySize: 100,
    ropeTables: { freqs: null, long: null, short: null },
    ...facts,
  }).config;
}

const common = {
  hidden_size: 64,
  num_hidden_layers: 2,
  intermediate_size: 128,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  head_dim: 16,
  max_position_embeddings: 4096,
  vocab_size: 100,
  tie_word_embeddings: false,
  rms_norm_eps: 1e-6,
};
const noBiases = { attention_bias: false, mlp_bias: false };

describe('each family gets its own config', () => {
  it('llama', () => {
    expect(configOf('llama', { 'rope.freq_base': f32(5e5) })).toEqual({
      ...common,
      ...noBiases,
      model_type: 'llama',
      rope_theta: 500_000,
    });
  });

  it('llama with biases and tied embeddings', () => {
    const names = new Set(['token_embd.weight', 'blk.0.attn_q.bias', 'blk.0.ffn_up.bias']);
    expect(configOf('llama', {}, { names })).toEqual({
      ...common,
      model_type: 'llama',
      tie_word_embeddings: true,
      attention_bias: true,
      mlp_bias: true,
    });
  });

  it('qwen2 and qwen3, with yarn and a head width of its own', () => {
    const yarn = {
      'rope.scaling.type': 'yarn',
      'rope.scaling.factor': 4,
      'rope.scaling.original_context_length': 1024,
    };
    const rope_scaling = {
      rope_type: 'yarn',
      factor: 4,
      original_max_position_embeddings: 1024,
    };
    expect(configOf('qwen2', yarn)).toEqual({ ...common, model_type: 'qwen2', rope_scaling });
    const wide = { ...yarn, 'attention.key_length': 32, 'attention.value_length': 32 };
    expect(configOf('qwen3', wide)).toEqual({
      ...common,
      ...noBiases,
      model_type: 'qwen3',
      head_dim: 32,
      rope_scaling,
    });
  });

  it('mistral3 with its query scale is ministral3, without it a llama', () => {
    const ministral = {
      'rope.freq_base': 1e6,
      'rope.scaling.type': 'yarn',
      'rope.scaling.factor': 16,
      'rope.scaling.original_context_length': 256,
      'rope.scaling.yarn_beta_fast': 32,
      'rope.scaling.yarn_beta_slow': 1,
      'rope.scaling.yarn_log_multiplier': 1,
      'attention.temperature_scale': f32(0.1),
    };
    expect(configOf('mistral3', ministral)).toEqual({
      ...common,
      model_type: 'ministral3',
      rope_theta: 1e6,
      rope_parameters: {
        rope_type: 'yarn',
        rope_theta: 1e6,
        factor: 16,
        original_max_position_embeddings: 256,
        beta_fast: 32,
        beta_slow: 1,
        mscale: 1,
        mscale_all_dim: 1,
        llama_4_scaling_beta: 0.1,
      },
    });
    expect(configOf('mistral3')).toEqual({ ...common, ...noBiases, model_type: 'llama' });
  });

  it('smollm3: every fourth layer has no rope', () => {
    expect(configOf('smollm3', { block_count: 5 })).toEqual({
      ...common,
      ...noBiases,
      num_hidden_layers: 5,
      model_type: 'smollm3',
      no_rope_layers: [1, 1, 1, 0, 1],
    });
  });

  it('granite', () => {
    const scales = {
      'attention.scale': f32(0.015625),
      embedding_scale: 12,
      residual_scale: f32(0.22),
      logit_scale: 8,
    };
    expect(configOf('granite', scales)).toEqual({
      ...common,
      ...noBiases,
      model_type: 'granite',
      attention_multiplier: 0.015625,
      embedding_multiplier: 12,
      residual_multiplier: 0.22,
      logits_scaling: 8,
    });
  });

  it('gemma2, and the scalar of its 27B model', () => {
    const gemma = {
      ...common,
      model_type: 'gemma2',
      hidden_activation: 'gelu_pytorch_tanh',
      query_pre_attn_scalar: 16,
      attn_logit_softcapping: 50,
      final_logit_softcapping: 30,
      sliding_window: 4096,
    };
    expect(configOf('gemma2')).toEqual(gemma);
    expect(
      configOf('gemma2', {
        block_count: 46,
        'attention.key_length': 32,
        'attention.value_length': 32,
      }),
    ).toEqual({
      ...gemma,
      num_hidden_layers: 46,
      head_dim: 32,
      query_pre_attn_scalar: 16,
    });
  });

  it('gemma3, with windows and without', () => {
    const gemma = {
      ...common,
      model_type: 'gemma3_text',
      hidden_activation: 'gelu_pytorch_tanh',
      rope_theta: 1e6,
      rope_local_base_freq: 10_000,
      query_pre_attn_scalar: 16,
      final_logit_softcapping: null,
    };
    expect(configOf('gemma3', { 'attention.sliding_window': 512 })).toEqual({
      ...gemma,
      sliding_window: 512,
      sliding_window_pattern: 6,
    });
    const scaled = { 'rope.scaling.type': 'linear', 'rope.scaling.factor': 8 };
    expect(configOf('gemma3', scaled)).toEqual({
      ...gemma,
      sliding_window_pattern: 1,
      rope_scaling: { rope_type: 'linear', factor: 8 },
    });
  });

  it('phi3 with long and short factors', () => {
    const values = {
      'rope.dimension_count': 12,
      'rope.scaling.original_context_length': 2048,
      'rope.freq_base': 10_000,
    };
    const ropeTables = { freqs: null, long: [1, 2], short: [1, 1] };
    expect(configOf('phi3', values, { ropeTables })).toEqual({
      ...common,
      model_type: 'phi3',
      rope_theta: 10_000,
      partial_rotary_factor: 0.75,
      original_max_position_embeddings: 2048,
      rope_scaling: { type: 'longrope', long_factor: [1, 2], short_factor: [1, 1] },
    });
  });

  it('glm4', () => {
    expect(configOf('glm4', { 'rope.dimension_count': 8 })).toEqual({
      ...common,
      ...noBiases,
      model_type: 'glm4',
      partial_rotary_factor: 0.5,
    });
  });

  it('cohere2 has layer norms, not RMS norms', () => {
    const { rms_norm_eps: _, ...rest } = common;
    const values = {
      'attention.layer_norm_epsilon': f32(1e-5),
      logit_scale: f32(0.0625),
      'attention.sliding_window': 1024,
    };
    expect(configOf('cohere2', values)).toEqual({
      ...rest,
      model_type: 'cohere2',
      layer_norm_eps: 1e-5,
      logit_scale: 0.0625,
      sliding_window: 1024,
      sliding_window_pattern: 4,
      attention_bias: false,
      layer_norm_bias: false,
    });
  });

  it('olmo2', () => {
    expect(configOf('olmo2')).toEqual({ ...common, ...noBiases, model_type: 'olmo2' });
  });
});

it('a table of llama3 factors becomes its parameters', () => {
  const rope_scaling = {
    rope_type: 'llama3' as const,
    factor: 32,
    low_freq_factor: 1,
    high_freq_factor: 4,
    original_max_position_embeddings: 8192,
  };
  const freqs = Float32Array.from({ length: 8 }, (_, pair) =>
    llama3Factor(rope_scaling, 2 * Math.PI * 500_000 ** (pair / 8)),
  );
  const ropeTables = { freqs, long: null, short: null };
  const config = configOf('llama', { 'rope.freq_base': 500_000 }, { ropeTables });
  expect(config['rope_scaling']).toEqual(rope_scaling);
});

it('a table of ones is no scaling, and counts by layer may be equal', () => {
  const ropeTables = { freqs: new Float32Array(8).fill(1), long: null, short: null };
  const heads = { kind: 'numbers' as const, values: [2, 2] };
  const config = configOf('llama', { 'attention.head_count_kv': heads }, { ropeTables });
  expect(config).toEqual({ ...common, ...noBiases, model_type: 'llama' });
});

describe('what cannot be run or makes no sense is refused with its reason', () => {
  const numbers = (values: number[]): GgufValue => ({ kind: 'numbers', values });
  const cases: [architecture: string, values: Values, code: string, reason: string][] = [
    ['mamba', {}, 'model_unsupported', 'of the architecture "mamba"'],
    ['llama', { expert_count: 8 }, 'model_unsupported', 'a llama model with experts'],
    ['llama', { block_count: 0 }, 'model_file_broken', 'it claims 0 layers'],
    ['llama', { block_count: 1e9 }, 'model_file_broken', 'it claims 1000000000 layers'],
    ['llama', { block_count: 1.5 }, 'model_file_broken', '"llama.block_count" is not a whole'],
    ['llama', { block_count: 'two' }, 'model_file_broken', '"llama.block_count" is not a whole'],
    ['llama', { 'attention.head_count': 3 }, 'model_file_broken', '3 heads with 2 for k and v'],
    ['llama', { embedding_length: 66 }, 'model_file_broken', 'do not divide a width of 66'],
    ['llama', { 'attention.value_length': 8 }, 'model_unsupported', 'values of width 8'],
    ['llama', { feed_forward_length: numbers([1, 2]) }, 'model_unsupported', 'in each layer'],
    ['llama', { feed_forward_length: numbers([]) }, 'model_file_broken', 'whole numbers'],
    ['llama', { 'rope.scaling.type': 'odd' }, 'model_unsupported', 'of the type "odd"'],
    ['llama', { 'rope.freq_base': Number.NaN }, 'model_file_broken', 'is not a number'],
    ['cohere2', {}, 'model_file_broken', 'lacks the value "cohere2.attention.layer_norm_epsilon"'],
    ['olmo2', { 'attention.sliding_window': 4 }, 'model_unsupported', 'an OLMo 3 model'],
    ['glm4', { 'rope.dimension_sections': numbers([1]) }, 'model_unsupported', 'reads images'],
  ];
  it.each(cases)('%s %j', async (architecture, values, code, reason) => {
    const found = await rejection((async () => configOf(architecture, values))());
    expect(found.code).toBe(code);
    expect(found.message).toContain(reason);
  });

  it('rope factors that are not llama3s', async () => {
    const ropeTables = { freqs: [1, 3, 2, 1, 1, 1, 1, 1], long: null, short: null };
    const found = await rejection((async () => configOf('llama', {}, { ropeTables }))());
    expect(found.message).toContain("rope factors that are not llama3's");
  });
});
