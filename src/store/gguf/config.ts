import { limits } from '../../base/limits.ts';
import { brokenFile, unsupportedModel } from '../model-file-error.ts';
import type { GgufArchitecture } from './architectures.ts';
import {
  type CommonValues,
  type Config,
  type FamilySource,
  type GgufTensorFacts,
  familyConfig,
} from './family-config.ts';
import type { GgufMetadata } from './metadata.ts';
import type { GgufDimensions } from './tensor-names.ts';

/**
 * The config.json that transformers would have for the model of this GGUF file, as far as its
 * metadata tells: names and meanings by llama.cpp's conversion scripts, read backwards.
 */
export function ggufConfig(
  metadata: GgufMetadata,
  architecture: GgufArchitecture,
  facts: GgufTensorFacts,
): { config: Config; dimensions: GgufDimensions } {
  const architectureName = metadata.text('general.architecture');
  const key = (name: string): string => `${architectureName}.${name}`;
  if ((metadata.optionalCount(key('expert_count')) ?? 0) > 0) {
    throw unsupportedModel(`${metadata.fileName} holds a ${architectureName} model with experts`);
  }
  const common = readCommon(metadata, architectureName);
  const source: FamilySource = { metadata, facts, architectureName, common };
  const config: Config = {
    model_type: architecture.modelType,
    hidden_size: common.hidden,
    num_hidden_layers: common.layers,
    intermediate_size: layerIndependentCount(metadata, key('feed_forward_length')),
    num_attention_heads: common.heads,
    num_key_value_heads: common.keyValueHeads,
    head_dim: common.headWidth,
    max_position_embeddings: common.contextLength,
    vocab_size: facts.vocabularySize,
    tie_word_embeddings: !facts.names.has('output.weight'),
    ...(common.theta === null ? {} : { rope_theta: common.theta }),
    ...familyConfig(architecture.modelType, source),
  };
  return {
    config,
    dimensions: {
      layers: common.layers,
      heads: common.heads,
      keyValueHeads: common.keyValueHeads,
    },
  };
}

function readCommon(metadata: GgufMetadata, architectureName: string): CommonValues {
  const key = (name: string): string => `${architectureName}.${name}`;
  const hidden = metadata.count(key('embedding_length'));
  const layers = metadata.count(key('block_count'));
  const heads = layerIndependentCount(metadata, key('attention.head_count'));
  const keyValueHeads = metadata.isArray(key('attention.head_count_kv'))
    ? layerIndependentCount(metadata, key('attention.head_count_kv'))
    : (metadata.optionalCount(key('attention.head_count_kv')) ?? heads);
  if (layers < 1 || layers > limits.modelLayersMax) {
    throw brokenFile(metadata.fileName, `it claims ${layers} layers`);
  }
  if (heads < 1 || keyValueHeads < 1 || heads % keyValueHeads !== 0) {
    throw brokenFile(
      metadata.fileName,
      `it claims ${heads} heads with ${keyValueHeads} for k and v`,
    );
  }
  const headWidth = metadata.optionalCount(key('attention.key_length')) ?? hidden / heads;
  if (!Number.isInteger(headWidth) || headWidth < 1) {
    throw brokenFile(metadata.fileName, `${heads} heads do not divide a width of ${hidden}`);
  }
  const valueWidth = metadata.optionalCount(key('attention.value_length')) ?? headWidth;
  if (valueWidth !== headWidth) {
    throw unsupportedModel(
      `${metadata.fileName} has keys of width ${headWidth} and values of width ${valueWidth}`,
    );
  }
  return {
    hidden,
    layers,
    heads,
    keyValueHeads,
    headWidth,
    contextLength: metadata.count(key('context_length')),
    theta: metadata.optionalNumber(key('rope.freq_base')),
  };
}

/** A count that the file may give for each layer: they must be equal. */
function layerIndependentCount(metadata: GgufMetadata, key: string): number {
  if (!metadata.isArray(key)) return metadata.count(key);
  const values = Array.from(metadata.optionalNumbers(key) ?? []);
  const first = values[0] ?? Number.NaN;
  if (!Number.isSafeInteger(first) || first < 0) {
    throw brokenFile(metadata.fileName, `its value "${key}" is not made of whole numbers`);
  }
  if (values.some((value) => value !== first)) {
    throw unsupportedModel(`${metadata.fileName} has a different "${key}" in each layer`);
  }
  return first;
}
