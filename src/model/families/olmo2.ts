import type { Family } from '../family.ts';
import type { LayerNorms } from '../spec.ts';
import { llama } from './llama.ts';

const norms: LayerNorms = {
  arrangement: 'post',
  afterMixer: 'post_attention_layernorm',
  afterFeedForward: 'post_feedforward_layernorm',
};

/**
 * mlx-lm `models/olmo2.py`: llama's keys and defaults, with norms behind attention and MLP instead
 * of before, and q and k normalized over all heads together. `layer_types` is not read.
 */
export const olmo2: Family = (config, tensorNames) => {
  const spec = llama({ ...config, layer_types: null }, tensorNames);
  return {
    ...spec,
    family: 'olmo2',
    layers: spec.layers.map((layer) => ({
      ...layer,
      norms,
      mixer: { ...layer.mixer, headNorm: 'width' as const },
    })),
  };
};
