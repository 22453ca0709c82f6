import { z } from 'zod';
import { CideryError } from '../base/error.ts';
import { limits } from '../base/limits.ts';

/** config.json as parsed: a foreign format, so unknown keys are ignored. */
export type Config = Readonly<Record<string, unknown>>;

/** The error for a key of config.json that is missing, wrong, or contradicts another. */
export function configInvalid(key: string, problem: string): CideryError {
  return new CideryError('model_config_invalid', `config.json: ${key}: ${problem}`, {
    hint: 'compare it with the original model; a conversion may have damaged it',
  });
}

/**
 * Reads the keys of `schema` from a config.
 * @param at path of `config` inside config.json, for messages.
 * @throws CideryError `model_config_invalid` that names the first bad key.
 */
export function readConfig<Schema extends z.ZodType>(
  schema: Schema,
  config: unknown,
  at: readonly string[] = [],
): z.output<Schema> {
  const parsed = schema.safeParse(config);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  const key = [...at, ...(issue?.path.map(String) ?? [])].join('.');
  throw configInvalid(key === '' ? 'the whole' : key, issue?.message ?? 'not readable');
}

/** A key that may be missing or null. */
export function optional<Schema extends z.ZodType, Fallback>(schema: Schema, fallback: Fallback) {
  return schema.nullish().transform((value) => value ?? fallback);
}

/** Largest finite value of the 32-bit floats that programs carry. */
const float32Max = 3.4028234e38;

export const width = z.int().positive().max(limits.modelMaxWidth);
export const headCount = z.int().positive().max(limits.modelMaxHeads);
export const contextLength = z.int().positive().max(limits.modelMaxContext);
export const scalar = z.number().min(-float32Max).max(float32Max);
export const positiveScalar = z.number().gt(1e-30).max(1e30);
export const epsilon = z.number().nonnegative().max(1);

/** Keys that every decoder has and none has a default for. */
export const decoderKeys = {
  hidden_size: width,
  num_hidden_layers: z.int().positive().max(limits.modelLayersMax),
  intermediate_size: width,
  num_attention_heads: headCount,
  vocab_size: z.int().positive().max(limits.modelMaxVocabulary),
} as const;

/** Keys about rotary positions, in the older form and in that of transformers 5. */
export const ropeKeys = {
  rope_theta: z.number().nullish(),
  rope_scaling: z.record(z.string(), z.unknown()).nullish(),
  rope_parameters: z.record(z.string(), z.unknown()).nullish(),
} as const;

interface RopeKeys {
  rope_theta?: number | null | undefined;
  rope_scaling?: Config | null | undefined;
  rope_parameters?: Config | null | undefined;
}

/**
 * theta and scaling of a config. transformers 5 nests both under `rope_parameters`; what is missing
 * outside is taken from there, as mlx-lm does it for qwen3.
 * @param theta default of the family; null where the key is required.
 */
export function ropeOf(
  config: RopeKeys,
  theta: number | null,
): { theta: number; scaling: Config | null } {
  const nested = config.rope_parameters ?? null;
  const found = config.rope_theta ?? numberOf(nested, 'rope_theta') ?? theta;
  if (found === null) throw configInvalid('rope_theta', 'is missing');
  return { theta: found, scaling: config.rope_scaling ?? nested };
}

function numberOf(config: Config | null, key: string): number | null {
  const value = config?.[key];
  if (value === undefined || value === null) return null;
  return readConfig(z.number(), value, ['rope_parameters', key]);
}

/** Checks what attention needs of head counts and widths; returns the width of a head. */
export function headWidthOf(config: {
  hidden_size: number;
  num_attention_heads: number;
  num_key_value_heads: number;
  head_dim?: number | null | undefined;
}): number {
  const heads = config.num_attention_heads;
  const keyHeads = config.num_key_value_heads;
  if (heads % keyHeads !== 0) {
    throw configInvalid('num_key_value_heads', `${heads} heads cannot share ${keyHeads} key heads`);
  }
  const headWidth = config.head_dim ?? Math.floor(config.hidden_size / heads);
  if (headWidth === 0) {
    throw configInvalid(
      'num_attention_heads',
      `${heads} heads in a width of ${config.hidden_size}`,
    );
  }
  if (headWidth * heads > limits.modelMaxWidth) {
    throw configInvalid('head_dim', `${heads} heads of ${headWidth} are wider than any model`);
  }
  return headWidth;
}

/**
 * Window of each layer from `layer_types` and `sliding_window`: 0 where a layer sees everything.
 * @throws CideryError `model_config_invalid` on a wrong count, an unknown type, or a window that is
 *   missing.
 */
export function windowsOf(
  layers: number,
  types: readonly string[] | null,
  window: number | null,
): number[] {
  if (types === null) return Array.from({ length: layers }, () => 0);
  if (types.length !== layers) {
    throw configInvalid('layer_types', `names ${types.length} layers of ${layers}`);
  }
  return types.map((type) => {
    if (type === 'full_attention') return 0;
    if (type !== 'sliding_attention') {
      throw configInvalid('layer_types', `'${type.slice(0, 40)}' is not known here`);
    }
    if (window === null) throw configInvalid('sliding_window', 'is missing, layer_types needs it');
    return window;
  });
}
