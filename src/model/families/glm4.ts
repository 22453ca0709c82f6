import { z } from 'zod';
import {
  configInvalid,
  contextLength,
  decoderKeys,
  epsilon,
  headCount,
  headWidthOf,
  optional,
  readConfig,
  ropeKeys,
  ropeOf,
  width,
} from '../config.ts';
import { attentionSpec, decoderSpec, type Family, gatedSpec, rmsNorm } from '../family.ts';
import { makeRope } from '../rope.ts';
import type { LayerNorms } from '../spec.ts';

const rotaryFactor = z.number().positive().max(1).nullish();

const keys = z.object({
  ...decoderKeys,
  ...ropeKeys,
  rms_norm_eps: epsilon,
  head_dim: width,
  num_key_value_heads: headCount,
  attention_bias: optional(z.boolean(), false),
  partial_rotary_factor: rotaryFactor,
  rope_traditional: optional(z.boolean(), true),
  max_position_embeddings: optional(contextLength, 32_768),
});

const norms: LayerNorms = {
  arrangement: 'sandwich',
  beforeMixer: 'input_layernorm',
  afterMixer: 'post_self_attn_layernorm',
  beforeFeedForward: 'post_attention_layernorm',
  afterFeedForward: 'post_mlp_layernorm',
};

/**
 * mlx-lm `models/glm4.py`: four norms, neighbouring pairs of a part of each head rotated, a fused
 * MLP, never tied.
 */
export const glm4: Family = (config) => {
  const read = readConfig(keys, config);
  const headWidth = headWidthOf(read);
  const nested = readConfig(
    z.object({ partial_rotary_factor: rotaryFactor }),
    read.rope_parameters ?? {},
    ['rope_parameters'],
  );
  const factor = read.partial_rotary_factor ?? nested.partial_rotary_factor;
  if (factor === undefined || factor === null) {
    throw configInvalid('partial_rotary_factor', 'is missing');
  }
  const rope = makeRope({
    width: Math.floor(headWidth * factor),
    theta: ropeOf(read, null).theta,
    traditional: read.rope_traditional,
    scaling: null,
    positions: null,
  });
  const norm = rmsNorm(read.rms_norm_eps);
  const layer = {
    norms,
    norm,
    mixer: attentionSpec({
      heads: read.num_attention_heads,
      keyHeads: read.num_key_value_heads,
      headWidth,
      rope,
      inputBias: read.attention_bias,
    }),
    feedForward: gatedSpec({ inner: read.intermediate_size, projections: 'fused' }),
    residualScale: 1,
  };
  return decoderSpec({
    family: 'glm4',
    vocabulary: read.vocab_size,
    width: read.hidden_size,
    contextLength: read.max_position_embeddings,
    layers: Array.from({ length: read.num_hidden_layers }, () => layer),
    finalNorm: norm,
    head: { tied: false },
  });
};
