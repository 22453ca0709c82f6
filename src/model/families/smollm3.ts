import { z } from 'zod';
import { configInvalid, optional, readConfig } from '../config.ts';
import type { Family } from '../family.ts';
import { llama } from './llama.ts';

const keys = z.object({
  no_rope_layer_interval: optional(z.int().positive(), 4),
  no_rope_layers: z.array(z.number()).nullish(),
});

/**
 * mlx-lm `models/smollm3.py`: llama with some layers that do not know positions (1 in
 * `no_rope_layers`: it does).
 */
export const smollm3: Family = (config, tensorNames) => {
  const read = readConfig(keys, config);
  const spec = llama(config, tensorNames);
  const rotated = read.no_rope_layers;
  if (rotated && rotated.length !== spec.layers.length) {
    const problem = `names ${rotated.length} layers of ${spec.layers.length}`;
    throw configInvalid('no_rope_layers', problem);
  }
  return {
    ...spec,
    family: 'smollm3',
    layers: spec.layers.map((layer, index) => {
      const knowsPositions = rotated
        ? rotated[index] !== 0
        : (index + 1) % read.no_rope_layer_interval !== 0;
      return knowsPositions ? layer : { ...layer, mixer: { ...layer.mixer, rope: null } };
    }),
  };
};
