import { z } from 'zod';
import { limits } from '../../base/limits.ts';
import {
  type Config,
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
  ...ropeKeys,
  hidden_size: optional(decoderKeys.hidden_size, 1152),
  num_hidden_layers: optional(decoderKeys.num_hidden_layers, 26),
  intermediate_size: optional(decoderKeys.intermediate_size, 6912),
  num_attention_heads: optional(headCount, 4),
  num_key_value_heads: optional(headCount, 1),
  head_dim: optional(width, 256),
  rms_norm_eps: optional(epsilon, 1e-6),
  vocab_size: optional(decoderKeys.vocab_size, 262_144),
  rope_local_base_freq: z.number().nullish(),
  query_pre_attn_scalar: optional(positiveScalar, 256),
  sliding_window: optional(width, 512),
  sliding_window_pattern: optional(z.int().positive().max(limits.modelLayersMax), 6),
  max_position_embeddings: optional(contextLength, 32_768),
});

/**
 * mlx-lm `models/gemma3_text.py`: all layers but every sixth see a window and have their own,
 * unscaled rope; q and k are normalized per head; `layer_types` is not read. Tied unless the file
 * has an lm_head.
 */
export const gemma3Text: Family = (config, tensorNames) => {
  const read = readConfig(keys, config);
  const headWidth = headWidthOf(read);
  const ropes = gemma3Ropes(read, headWidth);
  const norm = rmsNorm(read.rms_norm_eps, 1);
  return decoderSpec({
    family: 'gemma3_text',
    vocabulary: read.vocab_size,
    width: read.hidden_size,
    contextLength: read.max_position_embeddings,
    embedScale: toBfloat16(Math.sqrt(read.hidden_size)),
    layers: Array.from({ length: read.num_hidden_layers }, (_, index) => {
      const sliding = (index + 1) % read.sliding_window_pattern !== 0;
      return {
        norms: gemmaNorms,
        norm,
        mixer: attentionSpec({
          heads: read.num_attention_heads,
          keyHeads: read.num_key_value_heads,
          headWidth,
          rope: sliding ? ropes.sliding : ropes.full,
          window: sliding ? read.sliding_window : 0,
          scale: read.query_pre_attn_scalar ** -0.5,
          headNorm: 'head' as const,
        }),
        feedForward: gatedSpec({ inner: read.intermediate_size, activation: 'geluTanh' }),
        residualScale: 1,
      };
    }),
    finalNorm: norm,
    head: { tied: !(tensorNames ?? []).some((name) => name.endsWith('lm_head.weight')) },
  });
};

/** transformers 5 nests one set of rope parameters for each type of layer. */
const nestedKeys = z.object({
  full_attention: z.record(z.string(), z.unknown()).nullish(),
  sliding_attention: z.looseObject({ rope_theta: z.number().nullish() }).nullish(),
});

function gemma3Ropes(read: z.output<typeof keys>, headWidth: number) {
  const nested = readConfig(nestedKeys, read.rope_parameters ?? {}, ['rope_parameters']);
  const parameters: Config | null = nested.full_attention ?? read.rope_parameters ?? null;
  const full = ropeOf({ ...read, rope_parameters: parameters }, 1_000_000);
  const local = read.rope_local_base_freq ?? nested.sliding_attention?.rope_theta ?? 10_000;
  const shared = { width: headWidth, traditional: false };
  return {
    full: makeRope({ ...shared, ...full, positions: read.max_position_embeddings }),
    sliding: makeRope({ ...shared, theta: local, scaling: null, positions: null }),
  };
}

/** mlx-lm rounds the factor of the embeddings to bfloat16, whatever the model runs in. */
export function toBfloat16(value: number): number {
  const view = new DataView(new ArrayBuffer(4));
  view.setFloat32(0, value);
  const bits = view.getUint32(0);
  const rounded = bits + 0x7fff + ((bits >>> 16) & 1);
  view.setUint32(0, rounded & 0xffff_0000);
  return view.getFloat32(0);
}
