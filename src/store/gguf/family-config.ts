import { invariant } from '../../base/error.ts';
import { unsupportedModel } from '../model-file-error.ts';
import type { GgufMetadata } from './metadata.ts';
import { llama3ScalingOf } from './rope-factors.ts';

/** What the tensors tell that the metadata does not. */
export interface GgufTensorFacts {
  /** Names as the file has them. */
  readonly names: ReadonlySet<string>;
  /** Rows of the embedding. */
  readonly vocabularySize: number;
  /** Values of the rope tables that the file holds. */
  readonly ropeTables: Readonly<Record<'freqs' | 'long' | 'short', ArrayLike<number> | null>>;
}

/** A config.json, or a part of one. */
export type Config = Record<string, unknown>;

/** All that the particular part of a config is made from. */
export interface FamilySource {
  readonly metadata: GgufMetadata;
  readonly facts: GgufTensorFacts;
  readonly architectureName: string;
  readonly common: CommonValues;
}

/** What every family has in common, checked. */
export interface CommonValues {
  readonly hidden: number;
  readonly layers: number;
  readonly heads: number;
  readonly keyValueHeads: number;
  readonly headWidth: number;
  readonly contextLength: number;
  readonly theta: number | null;
}

/** What the config.json of this model_type holds beside the common part. */
export function familyConfig(modelType: string, source: FamilySource): Config {
  const family = families[modelType];
  invariant(family !== undefined, `no config for the family ${modelType}`);
  return family(source);
}

/** The particular part by model_type. */
const families: Readonly<Record<string, (source: FamilySource) => Config>> = {
  llama: (source) => ({ ...rmsNorm(source), ...biases(source), ...ropeScaling(source) }),
  ministral3: (source) => ({ ...rmsNorm(source), ...ministral(source) }),
  smollm3: (source) => ({
    ...rmsNorm(source),
    ...biases(source),
    ...ropeScaling(source),
    no_rope_layers: Array.from({ length: source.common.layers }, (_, layer) =>
      Number((layer + 1) % 4 !== 0),
    ),
  }),
  granite: (source) => ({
    ...rmsNorm(source),
    ...biases(source),
    ...ropeScaling(source),
    attention_multiplier: number(source, 'attention.scale') ?? source.common.headWidth ** -0.5,
    embedding_multiplier: number(source, 'embedding_scale') ?? 1,
    residual_multiplier: number(source, 'residual_scale') ?? 1,
    logits_scaling: number(source, 'logit_scale') ?? 1,
  }),
  qwen2: (source) => ({ ...rmsNorm(source), ...ropeScaling(source) }),
  qwen3: (source) => ({ ...rmsNorm(source), ...biases(source), ...ropeScaling(source) }),
  gemma2: (source) => ({
    ...rmsNorm(source),
    hidden_activation: 'gelu_pytorch_tanh',
    query_pre_attn_scalar: gemmaScalar(source, 46),
    attn_logit_softcapping: number(source, 'attn_logit_softcapping') ?? 50,
    final_logit_softcapping: number(source, 'final_logit_softcapping') ?? 30,
    sliding_window: count(source, 'attention.sliding_window') ?? 4096,
  }),
  gemma3_text: (source) => ({
    ...rmsNorm(source),
    ...ropeScaling(source),
    hidden_activation: 'gelu_pytorch_tanh',
    rope_theta: source.common.theta ?? 1_000_000,
    rope_local_base_freq: number(source, 'rope.freq_base_swa') ?? 10_000,
    query_pre_attn_scalar: gemmaScalar(source, 62),
    final_logit_softcapping: number(source, 'final_logit_softcapping'),
    ...gemma3Windows(source),
  }),
  phi3: (source) => ({ ...rmsNorm(source), ...phi3Rope(source) }),
  glm4: (source) => ({ ...rmsNorm(source), ...biases(source), ...glm4Rope(source) }),
  cohere2: (source) => ({
    layer_norm_eps: source.metadata.number(keyOf(source, 'attention.layer_norm_epsilon')),
    logit_scale: source.metadata.number(keyOf(source, 'logit_scale')),
    sliding_window: source.metadata.count(keyOf(source, 'attention.sliding_window')),
    sliding_window_pattern: slidingPeriod(source, 4),
    attention_bias: false,
    layer_norm_bias: false,
  }),
  olmo2: (source) => ({ ...rmsNorm(source), ...biases(source), ...olmo2(source) }),
};

function keyOf(source: FamilySource, name: string): string {
  return `${source.architectureName}.${name}`;
}

function number(source: FamilySource, name: string): number | null {
  return source.metadata.optionalNumber(keyOf(source, name));
}

function count(source: FamilySource, name: string): number | null {
  return source.metadata.optionalCount(keyOf(source, name));
}

function rmsNorm(source: FamilySource): Config {
  const key = keyOf(source, 'attention.layer_norm_rms_epsilon');
  return { rms_norm_eps: source.metadata.number(key) };
}

function biases({ facts }: FamilySource): Config {
  return {
    attention_bias: facts.names.has('blk.0.attn_q.bias'),
    mlp_bias: facts.names.has('blk.0.ffn_up.bias'),
  };
}

/** rope_scaling for the plain families: linear, yarn, or llama3 from its table of factors. */
function ropeScaling(source: FamilySource): Config {
  const { metadata, facts, common } = source;
  const table = facts.ropeTables.freqs;
  if (table !== null && Array.from(table).some((value) => value !== 1)) {
    const theta = common.theta ?? 10_000;
    const width = count(source, 'rope.dimension_count') ?? common.headWidth;
    const scaling = llama3ScalingOf(table, width, theta);
    if (scaling !== null) return { rope_scaling: { ...scaling } };
    throw unsupportedModel(`${metadata.fileName} has rope factors that are not llama3's`);
  }
  const factor = number(source, 'rope.scaling.factor') ?? number(source, 'rope.scale_linear') ?? 1;
  const type = metadata.optionalText(keyOf(source, 'rope.scaling.type'));
  switch (type) {
    case 'none':
      return {};
    case null:
    case 'linear':
      return factor === 1 ? {} : { rope_scaling: { rope_type: 'linear', factor } };
    case 'yarn':
      return { rope_scaling: { rope_type: 'yarn', factor, ...yarnDetails(source) } };
    default:
      throw unsupportedModel(`${metadata.fileName} has rope scaling of the type "${type}"`);
  }
}

function yarnDetails(source: FamilySource): Config {
  const fast = number(source, 'rope.scaling.yarn_beta_fast');
  const slow = number(source, 'rope.scaling.yarn_beta_slow');
  return {
    original_max_position_embeddings: source.metadata.count(
      keyOf(source, 'rope.scaling.original_context_length'),
    ),
    ...(fast === null ? {} : { beta_fast: fast }),
    ...(slow === null ? {} : { beta_slow: slow }),
  };
}

/**
 * Ministral 3 keeps rope in rope_parameters; files without its query scale are Mistral 3, which
 * is a llama.
 */
function ministral(source: FamilySource): Config {
  const beta = number(source, 'attention.temperature_scale');
  if (beta === null) return { model_type: 'llama', ...biases(source), ...ropeScaling(source) };
  const allDimensions = number(source, 'rope.scaling.yarn_log_multiplier') ?? 0;
  return {
    rope_parameters: {
      rope_type: 'yarn',
      rope_theta: source.common.theta ?? 10_000,
      factor: source.metadata.number(keyOf(source, 'rope.scaling.factor')),
      ...yarnDetails(source),
      mscale: 1,
      mscale_all_dim: allDimensions,
      llama_4_scaling_beta: beta,
    },
  };
}

/**
 * query_pre_attn_scalar is not in the file. It is the head width, but for each generation's 27B
 * model, known by its depth, where it is the width of the model over its heads (as llama.cpp has
 * it).
 */
function gemmaScalar({ common }: FamilySource, layersOf27B: number): number {
  return common.layers === layersOf27B ? common.hidden / common.heads : common.headWidth;
}

/** Without a window every layer sees everything, which is a period of 1. */
function gemma3Windows(source: FamilySource): Config {
  const window = count(source, 'attention.sliding_window');
  if (window === null) return { sliding_window_pattern: 1 };
  return { sliding_window: window, sliding_window_pattern: slidingPeriod(source, 6) };
}

function slidingPeriod(source: FamilySource, otherwise: number): number {
  const key = keyOf(source, 'attention.sliding_window_pattern');
  if (source.metadata.isArray(key)) {
    throw unsupportedModel(`${source.metadata.fileName} lists the window of each layer`);
  }
  return source.metadata.optionalCount(key) ?? otherwise;
}

function partialRotary(source: FamilySource): number {
  const width = count(source, 'rope.dimension_count') ?? source.common.headWidth;
  return width / source.common.headWidth;
}

function phi3Rope(source: FamilySource): Config {
  const { long, short } = source.facts.ropeTables;
  const original = count(source, 'rope.scaling.original_context_length');
  return {
    partial_rotary_factor: partialRotary(source),
    original_max_position_embeddings: original ?? source.common.contextLength,
    ...(long === null || short === null
      ? {}
      : {
          rope_scaling: {
            type: 'longrope',
            long_factor: Array.from(long),
            short_factor: Array.from(short),
          },
        }),
  };
}

function glm4Rope(source: FamilySource): Config {
  if (source.metadata.isArray(keyOf(source, 'rope.dimension_sections'))) {
    throw unsupportedModel(`${source.metadata.fileName} holds a GLM model that reads images`);
  }
  return { partial_rotary_factor: partialRotary(source), ...ropeScaling(source) };
}

function olmo2(source: FamilySource): Config {
  if (count(source, 'attention.sliding_window') !== null) {
    throw unsupportedModel(`${source.metadata.fileName} holds an OLMo 3 model`);
  }
  return ropeScaling(source);
}
