import { z } from 'zod';
import {
  contextLength,
  decoderKeys,
  epsilon,
  headCount,
  headWidthOf,
  optional,
  readConfig,
  scalar,
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
  rms_norm_eps: epsilon,
  head_dim: width.nullish(),
  num_key_value_heads: headCount.nullish(),
  max_position_embeddings: contextLength.nullish(),
  rope_parameters: z.looseObject({
    rope_theta: z.number(),
    llama_4_scaling_beta: scalar,
    original_max_position_embeddings: contextLength,
  }),
  tie_word_embeddings: optional(z.boolean(), true),
  layer_types: optional(z.array(z.string()), null),
  sliding_window: optional(width, null),
});

/**
 * mlx-lm `models/ministral3.py`: llama whose queries grow slowly with the position (llama 4's
 * scale).
 */
export const ministral3: Family = (config) => {
  const read = readConfig(keys, config);
  const keyHeads = read.num_key_value_heads ?? read.num_attention_heads;
  const headWidth = headWidthOf({ ...read, num_key_value_heads: keyHeads });
  const parameters = read.rope_parameters;
  const rope = makeRope({
    width: headWidth,
    theta: parameters.rope_theta,
    traditional: false,
    scaling: parameters,
    positions: read.max_position_embeddings ?? null,
  });
  const windows = windowsOf(read.num_hidden_layers, read.layer_types, read.sliding_window);
  const norm = rmsNorm(read.rms_norm_eps);
  return decoderSpec({
    family: 'ministral3',
    vocabulary: read.vocab_size,
    width: read.hidden_size,
    contextLength: scaledContext(read.max_position_embeddings ?? 2048, rope, parameters),
    layers: windows.map((window) => ({
      norms: preNorms,
      norm,
      mixer: attentionSpec({
        heads: read.num_attention_heads,
        keyHeads,
        headWidth,
        window,
        rope,
        queryScale: {
          beta: parameters.llama_4_scaling_beta,
          original: parameters.original_max_position_embeddings,
        },
      }),
      feedForward: gatedSpec({ inner: read.intermediate_size }),
      residualScale: 1,
    })),
    finalNorm: norm,
    head: { tied: read.tie_word_embeddings },
  });
};
