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
  num_key_value_heads: headCount,
  max_position_embeddings: optional(contextLength, 32_768),
  rope_traditional: optional(z.boolean(), false),
  tie_word_embeddings: optional(z.boolean(), true),
});

/** mlx-lm `models/qwen2.py`: biases on q, k and v; windows and `head_dim` are not read. */
export const qwen2: Family = (config) => {
  const read = readConfig(keys, config);
  const headWidth = headWidthOf(read);
  const { theta, scaling } = ropeOf(read, 1_000_000);
  const rope = makeRope({
    width: headWidth,
    theta,
    traditional: read.rope_traditional,
    scaling,
    positions: read.max_position_embeddings,
  });
  const norm = rmsNorm(read.rms_norm_eps);
  const layer = {
    norms: preNorms,
    norm,
    mixer: attentionSpec({
      heads: read.num_attention_heads,
      keyHeads: read.num_key_value_heads,
      headWidth,
      rope,
      inputBias: true,
    }),
    feedForward: gatedSpec({ inner: read.intermediate_size }),
    residualScale: 1,
  };
  return decoderSpec({
    family: 'qwen2',
    vocabulary: read.vocab_size,
    width: read.hidden_size,
    contextLength: scaledContext(read.max_position_embeddings, rope, scaling),
    layers: Array.from({ length: read.num_hidden_layers }, () => layer),
    finalNorm: norm,
    head: { tied: read.tie_word_embeddings },
  });
};
