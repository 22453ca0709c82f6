import { describe, expect, it } from 'vitest';
import { rejection } from '../../../test/support/rejection.ts';
import type { TensorEntry } from '../../model/manifest.ts';
import { ggufArchitecture } from './architectures.ts';
import { ggmlTypes } from './ggml-types.ts';
import { ggufTensorEntry } from './tensor-names.ts';

const dimensions = { layers: 2, heads: 4, keyValueHeads: 2 };

function entryOf(
  architecture: string,
  name: string,
  shape: number[] = [8],
  typeId = 0,
): TensorEntry | null {
  const type = ggmlTypes.get(typeId);
  if (type === undefined) throw new Error(`no type ${typeId}`);
  const tensor = { name, type, shape, offset: 64, byteLength: 32 };
  return ggufTensorEntry(
    tensor,
    3,
    ggufArchitecture(architecture, 'model.gguf'),
    dimensions,
    'model.gguf',
  );
}

function namesOf(architecture: string, keys: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    keys.map((key) => [key, entryOf(architecture, `blk.1.${key}.weight`)?.name ?? '']),
  );
}

it('a tensor keeps its format, shape and place', () => {
  expect(entryOf('qwen2', 'blk.1.ffn_down.weight', [64, 256], 12)).toEqual({
    name: 'model.layers.1.mlp.down_proj.weight',
    format: 'Q4_K',
    shape: [64, 256],
    file: 3,
    offset: 64,
    byteLength: 32,
    transforms: [],
  });
});

it('outer tensors have the same names everywhere', () => {
  const names = ['token_embd.weight', 'output_norm.weight', 'output.weight'].map(
    (name) => entryOf('glm4', name)?.name,
  );
  expect(names).toEqual(['model.embed_tokens.weight', 'model.norm.weight', 'lm_head.weight']);
});

describe('names within a layer', () => {
  it('llama', () => {
    const keys = ['attn_q', 'attn_output', 'ffn_gate', 'ffn_up', 'attn_norm', 'ffn_norm'];
    expect(namesOf('llama', keys)).toEqual({
      attn_q: 'model.layers.1.self_attn.q_proj.weight',
      attn_output: 'model.layers.1.self_attn.o_proj.weight',
      ffn_gate: 'model.layers.1.mlp.gate_proj.weight',
      ffn_up: 'model.layers.1.mlp.up_proj.weight',
      attn_norm: 'model.layers.1.input_layernorm.weight',
      ffn_norm: 'model.layers.1.post_attention_layernorm.weight',
    });
  });

  const norms = ['attn_norm', 'post_attention_norm', 'ffn_norm', 'post_ffw_norm'];
  it('gemma3', () => {
    expect(namesOf('gemma3', [...norms, 'attn_q_norm'])).toEqual({
      attn_norm: 'model.layers.1.input_layernorm.weight',
      post_attention_norm: 'model.layers.1.post_attention_layernorm.weight',
      ffn_norm: 'model.layers.1.pre_feedforward_layernorm.weight',
      post_ffw_norm: 'model.layers.1.post_feedforward_layernorm.weight',
      attn_q_norm: 'model.layers.1.self_attn.q_norm.weight',
    });
  });

  it('glm4', () => {
    expect(namesOf('glm4', [...norms, 'ffn_up'])).toEqual({
      attn_norm: 'model.layers.1.input_layernorm.weight',
      post_attention_norm: 'model.layers.1.post_self_attn_layernorm.weight',
      ffn_norm: 'model.layers.1.post_attention_layernorm.weight',
      post_ffw_norm: 'model.layers.1.post_mlp_layernorm.weight',
      ffn_up: 'model.layers.1.mlp.gate_up_proj.weight',
    });
  });

  it('phi3', () => {
    expect(namesOf('phi3', ['attn_qkv', 'ffn_up'])).toEqual({
      attn_qkv: 'model.layers.1.self_attn.qkv_proj.weight',
      ffn_up: 'model.layers.1.mlp.gate_up_proj.weight',
    });
  });

  it('biases', () => {
    expect(entryOf('qwen2', 'blk.0.attn_k.bias')?.name).toBe(
      'model.layers.0.self_attn.k_proj.bias',
    );
  });
});

describe('what llama.cpp changed is to be undone', () => {
  it.each([
    ['llama', 'blk.0.attn_q.weight', [{ kind: 'unpermuteRope', heads: 4 }]],
    ['llama', 'blk.0.attn_k.weight', [{ kind: 'unpermuteRope', heads: 2 }]],
    ['llama', 'blk.0.attn_k.bias', [{ kind: 'unpermuteRope', heads: 2 }]],
    ['granite', 'blk.0.attn_q.weight', [{ kind: 'unpermuteRope', heads: 4 }]],
    ['smollm3', 'blk.0.attn_q.weight', [{ kind: 'unpermuteRope', heads: 4 }]],
    ['mistral3', 'blk.0.attn_q.weight', [{ kind: 'unpermuteRope', heads: 4 }]],
    ['llama', 'blk.0.attn_v.weight', []],
    ['llama', 'blk.0.attn_norm.weight', []],
    ['qwen3', 'blk.0.attn_q.weight', []],
    ['glm4', 'blk.0.attn_q.weight', []],
    ['cohere2', 'blk.0.attn_q.weight', []],
    ['gemma2', 'blk.0.post_ffw_norm.weight', [{ kind: 'add', value: -1 }]],
    ['gemma3', 'blk.0.attn_k_norm.weight', [{ kind: 'add', value: -1 }]],
    ['gemma3', 'output_norm.weight', [{ kind: 'add', value: -1 }]],
    ['gemma3', 'blk.0.attn_q.weight', []],
    ['olmo2', 'blk.0.attn_q_norm.weight', []],
  ])('%s %s', (architecture, name, transforms) => {
    expect(entryOf(architecture, name)?.transforms).toEqual(transforms);
  });
});

it('rope tables are no parameters', () => {
  const tables = ['rope_freqs.weight', 'rope_factors_long.weight', 'blk.0.attn_rot_embd.weight'];
  expect(tables.map((name) => entryOf('llama', name))).toEqual([null, null, null]);
});

describe('refused with its name', () => {
  it.each([
    ['an unknown tensor', 'llama', 'blk.0.ffn_gate_exps.weight', 'models of type llama do not'],
    ['a layer too many', 'llama', 'blk.2.attn_q.weight', '"blk.2.attn_q.weight"'],
    ['a name of an object', 'llama', 'blk.0.constructor.weight', 'do not have here'],
    ['an outer name of one', 'llama', 'toString.weight', 'do not have here'],
    ['another ending', 'llama', 'blk.0.attn_q.scale', 'do not have here'],
  ])('%s', async (_what, architecture, name, reason) => {
    const found = await rejection((async () => entryOf(architecture, name))());
    expect(found.code).toBe('model_unsupported');
    expect(found.message).toContain(reason);
  });

  it('a type that cannot be run', async () => {
    const found = await rejection((async () => entryOf('llama', 'output.weight', [8], 23))());
    expect(found).toEqual({
      code: 'model_unsupported',
      message: 'model.gguf holds tensor "output.weight" as IQ4_XS, which cannot be run',
    });
  });

  it('rows that are not whole heads', async () => {
    const found = await rejection((async () => entryOf('llama', 'blk.0.attn_q.weight', [12, 8]))());
    expect(found.code).toBe('model_file_broken');
    expect(found.message).toContain('the 12 rows of tensor "blk.0.attn_q.weight"');
  });
});
