import { z } from 'zod';
import {
  contextLength,
  decoderKeys,
  epsilon,
  headCount,
  headWidthOf,
  optional,
  positiveScalar,
  readConfig,
  ropeKeys,
  ropeOf,
  scalar,
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
  max_position_embeddings: contextLength,
  logits_scaling: positiveScalar,
  attention_multiplier: scalar,
  embedding_multiplier: scalar,
  residual_multiplier: scalar,
  attention_bias: optional(z.boolean(), false),
  mlp_bias: optional(z.boolean(), false),
  tie_word_embeddings: optional(z.boolean(), true),
});

/**
 * mlx-lm `models/granite.py`: llama with four multipliers; logits are divided by `logits_scaling`.
 */
export const granite: Family = (config) => {
  const read = readConfig(keys, config);
  const headWidth = headWidthOf(read);
  const { theta, scaling } = ropeOf(read, null);
  const rope = makeRope({
    width: headWidth,
    theta,
    traditional: false,
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
      scale: read.attention_multiplier,
      inputBias: read.attention_bias,
      outputBias: read.attention_bias,
    }),
    feedForward: gatedSpec({ inner: read.intermediate_size, bias: read.mlp_bias }),
    residualScale: read.residual_multiplier,
  };
  return decoderSpec({
    family: 'granite',
    vocabulary: read.vocab_size,
    width: read.hidden_size,
    contextLength: scaledContext(read.max_position_embeddings, rope, scaling),
    embedScale: read.embedding_multiplier,
    layers: Array.from({ length: read.num_hidden_layers }, () => layer),
    finalNorm: norm,
    head: { tied: read.tie_word_embeddings, scale: 1 / read.logits_scaling },
  });
};
