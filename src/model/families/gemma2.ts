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
  width,
} from '../config.ts';
import {
  attentionSpec,
  decoderSpec,
  type Family,
  gatedSpec,
  gemmaNorms,
  rmsNorm,
} from '../family.ts';
import { makeRope } from '../rope.ts';

const keys = z.object({
  ...decoderKeys,
  ...ropeKeys,
  rms_norm_eps: epsilon,
  head_dim: width,
  num_key_value_heads: headCount,
  max_position_embeddings: optional(contextLength, 8192),
  rope_traditional: optional(z.boolean(), false),
  // null switches a cap off, as in transformers; a missing key means the default.
  attn_logit_softcapping: positiveScalar.nullable().default(50),
  final_logit_softcapping: positiveScalar.nullable().default(30),
  query_pre_attn_scalar: optional(positiveScalar, 144),
});

/** mlx-lm `models/gemma2.py`: soft caps, four norms, always tied; every layer sees everything. */
export const gemma2: Family = (config) => {
  const read = readConfig(keys, config);
  const headWidth = headWidthOf(read);
  const rope = makeRope({
    width: headWidth,
    theta: ropeOf(read, 10_000).theta,
    traditional: read.rope_traditional,
    scaling: null,
    positions: null,
  });
  const norm = rmsNorm(read.rms_norm_eps, 1);
  const layer = {
    norms: gemmaNorms,
    norm,
    mixer: attentionSpec({
      heads: read.num_attention_heads,
      keyHeads: read.num_key_value_heads,
      headWidth,
      rope,
      scale: read.query_pre_attn_scalar ** -0.5,
      softcap: read.attn_logit_softcapping ?? 0,
    }),
    feedForward: gatedSpec({ inner: read.intermediate_size, activation: 'geluTanh' }),
    residualScale: 1,
  };
  return decoderSpec({
    family: 'gemma2',
    vocabulary: read.vocab_size,
    width: read.hidden_size,
    contextLength: read.max_position_embeddings,
    embedScale: Math.sqrt(read.hidden_size),
    layers: Array.from({ length: read.num_hidden_layers }, () => layer),
    finalNorm: norm,
    head: { tied: true, softcap: read.final_logit_softcapping ?? 0 },
  });
};
