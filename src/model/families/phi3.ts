import { z } from 'zod';
import {
  type Config,
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
import { makeRope } from '../rope.ts';

const keys = z.object({
  ...decoderKeys,
  ...ropeKeys,
  rms_norm_eps: epsilon,
  num_key_value_heads: headCount.nullish(),
  rope_traditional: optional(z.boolean(), false),
  partial_rotary_factor: z.number().positive().max(1).nullish(),
  max_position_embeddings: optional(contextLength, 131_072),
  original_max_position_embeddings: contextLength.nullish(),
  tie_word_embeddings: optional(z.boolean(), false),
});

/** mlx-lm `models/phi3.py`: fused projections, a part of each head rotated, longrope. */
export const phi3: Family = (config) => {
  const read = readConfig(keys, config);
  const keyHeads = read.num_key_value_heads ?? read.num_attention_heads;
  const headWidth = headWidthOf({ ...read, num_key_value_heads: keyHeads });
  const norm = rmsNorm(read.rms_norm_eps);
  const layer = {
    norms: preNorms,
    norm,
    mixer: attentionSpec({
      heads: read.num_attention_heads,
      keyHeads,
      headWidth,
      rope: phi3Rope(read, headWidth),
      projections: 'fused',
    }),
    feedForward: gatedSpec({ inner: read.intermediate_size, projections: 'fused' }),
    residualScale: 1,
  };
  return decoderSpec({
    family: 'phi3',
    vocabulary: read.vocab_size,
    width: read.hidden_size,
    contextLength: read.max_position_embeddings,
    layers: Array.from({ length: read.num_hidden_layers }, () => layer),
    finalNorm: norm,
    head: { tied: read.tie_word_embeddings },
  });
};

const partialSchema = z.object({
  partial_rotary_factor: z.number().positive().max(1).nullish(),
  original_max_position_embeddings: contextLength.nullish(),
});

function phi3Rope(read: z.output<typeof keys>, headWidth: number) {
  const { theta, scaling } = ropeOf(read, 10_000);
  const nested = readConfig(partialSchema, read.rope_parameters ?? {}, ['rope_parameters']);
  const factor = read.partial_rotary_factor ?? nested.partial_rotary_factor ?? 1;
  const original =
    read.original_max_position_embeddings ?? nested.original_max_position_embeddings ?? 4096;
  return makeRope({
    width: Math.floor(headWidth * factor),
    theta,
    traditional: read.rope_traditional,
    scaling: phi3Scaling(scaling, original),
    positions: read.max_position_embeddings,
  });
}

/** mlx-lm knows longrope, its older name `su`, and linear here; it runs any other kind unscaled. */
function phi3Scaling(scaling: Config | null, original: number): Config | null {
  const kind = scaling?.['type'] ?? scaling?.['rope_type'];
  if (kind === 'linear') return scaling;
  if (kind !== 'longrope' && kind !== 'su') return null;
  return { ...scaling, type: 'longrope', original_max_position_embeddings: original };
}
