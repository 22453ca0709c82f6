import { z } from 'zod';
import {
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
  windowsOf,
} from '../config.ts';
import {
  attentionSpec,
  decoderSpec,
  type Family,
  gatedSpec,
  preNorms,
  rmsNorm,
} from '../family.ts';
import { makeRope, scaledContext } from '../rope.ts';

const keys = z.object({
  ...decoderKeys,
  ...ropeKeys,
  rms_norm_eps: epsilon,
  head_dim: width.nullish(),
  num_key_value_heads: headCount.nullish(),
  max_position_embeddings: contextLength.nullish(),
  attention_bias: optional(z.boolean(), false),
  mlp_bias: optional(z.boolean(), false),
  rope_traditional: optional(z.boolean(), false),
  tie_word_embeddings: optional(z.boolean(), true),
  layer_types: optional(z.array(z.string()), null),
  sliding_window: optional(width, null),
});

/**
 * mlx-lm `models/llama.py`; also serves mistral and iquestcoder. `sliding_window` counts only with
 * `layer_types`.
 */
export const llama: Family = (config) => {
  const read = readConfig(keys, config);
  const layers = read.num_hidden_layers;
  const keyHeads = read.num_key_value_heads ?? read.num_attention_heads;
  const headWidth = headWidthOf({ ...read, num_key_value_heads: keyHeads });
  const { theta, scaling } = ropeOf(read, 10_000);
  const rope = makeRope({
    width: headWidth,
    theta,
    traditional: read.rope_traditional,
    scaling,
    positions: read.max_position_embeddings ?? null,
  });
  const norm = rmsNorm(read.rms_norm_eps);
  return decoderSpec({
    family: 'llama',
    vocabulary: read.vocab_size,
    width: read.hidden_size,
    contextLength: scaledContext(read.max_position_embeddings ?? 2048, rope, scaling),
    layers: windowsOf(layers, read.layer_types, read.sliding_window).map((window) => ({
      norms: preNorms,
      norm,
      mixer: attentionSpec({
        heads: read.num_attention_heads,
        keyHeads,
        headWidth,
        window,
        rope,
        inputBias: read.attention_bias,
        outputBias: read.attention_bias,
      }),
      feedForward: gatedSpec({ inner: read.intermediate_size, bias: read.mlp_bias }),
      residualScale: 1,
    })),
    finalNorm: norm,
    head: { tied: read.tie_word_embeddings },
  });
};
