import { z } from 'zod';
import { limits } from '../../base/limits.ts';
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
  scalar,
  width,
} from '../config.ts';
import { attentionSpec, decoderSpec, type Family, gatedSpec } from '../family.ts';
import { makeRope } from '../rope.ts';
import type { LayerNorms, NormSpec } from '../spec.ts';

const keys = z.object({
  ...ropeKeys,
  hidden_size: optional(decoderKeys.hidden_size, 4096),
  num_hidden_layers: optional(decoderKeys.num_hidden_layers, 32),
  intermediate_size: optional(decoderKeys.intermediate_size, 14_336),
  num_attention_heads: optional(headCount, 32),
  num_key_value_heads: optional(headCount, 8),
  head_dim: optional(width, 128),
  vocab_size: optional(decoderKeys.vocab_size, 256_000),
  layer_norm_eps: optional(epsilon, 1e-5),
  layer_norm_bias: optional(z.boolean(), false),
  attention_bias: optional(z.boolean(), false),
  logit_scale: optional(scalar, 0.0625),
  sliding_window: optional(width, 4096),
  sliding_window_pattern: optional(z.int().positive().max(limits.modelLayersMax), 4),
  max_position_embeddings: optional(contextLength, 8192),
});

const norms: LayerNorms = { arrangement: 'parallel', before: 'input_layernorm' };

/**
 * mlx-lm `models/cohere2.py`: attention and MLP side by side behind one layer norm; layers with a
 * window rotate neighbouring pairs, every fourth sees everything and knows no positions; always
 * tied.
 */
export const cohere2: Family = (config) => {
  const read = readConfig(keys, config);
  const headWidth = headWidthOf(read);
  if (headWidth * read.num_attention_heads !== read.hidden_size) {
    const problem = `${read.num_attention_heads} heads of ${headWidth} are not ${read.hidden_size}`;
    throw configInvalid('hidden_size', problem);
  }
  const rope = makeRope({
    width: headWidth,
    theta: ropeOf(read, 50_000).theta,
    traditional: true,
    scaling: null,
    positions: null,
  });
  const norm: NormSpec = {
    kind: 'layer',
    epsilon: read.layer_norm_eps,
    weightOffset: 0,
    bias: read.layer_norm_bias,
  };
  return decoderSpec({
    family: 'cohere2',
    vocabulary: read.vocab_size,
    width: read.hidden_size,
    contextLength: read.max_position_embeddings,
    layers: Array.from({ length: read.num_hidden_layers }, (_, index) => {
      const sliding = (index + 1) % read.sliding_window_pattern !== 0;
      return {
        norms,
        norm,
        mixer: attentionSpec({
          heads: read.num_attention_heads,
          keyHeads: read.num_key_value_heads,
          headWidth,
          rope: sliding ? rope : null,
          window: sliding ? read.sliding_window : 0,
          inputBias: read.attention_bias,
          outputBias: read.attention_bias,
        }),
        feedForward: gatedSpec({ inner: read.intermediate_size }),
        residualScale: 1,
      };
    }),
    finalNorm: norm,
    head: { tied: true, scale: read.logit_scale },
  });
};
