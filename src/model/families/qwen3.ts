import { z } from 'zod';
import {
  contextLength,
  decoderKeys,
  epsilon,
  headCount,
  headWidthOf,
  readConfig,
  ropeKeys,
  ropeOf,
  width,
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
  head_dim: width,
  num_key_value_heads: headCount,
  max_position_embeddings: contextLength,
  tie_word_embeddings: z.boolean(),
});

/** mlx-lm `models/qwen3.py`: q and k are normalized per head. */
export const qwen3: Family = (config) => {
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
      headNorm: 'head',
    }),
    feedForward: gatedSpec({ inner: read.intermediate_size }),
    residualScale: 1,
  };
  return decoderSpec({
    family: 'qwen3',
    vocabulary: read.vocab_size,
    width: read.hidden_size,
    contextLength: scaledContext(read.max_position_embeddings, rope, scaling),
    layers: Array.from({ length: read.num_hidden_layers }, () => layer),
    finalNorm: norm,
    head: { tied: read.tie_word_embeddings },
  });
};
