import { z } from 'zod';
import { decoderKeys, readConfig } from '../config.ts';
import { type Family, wrappedSpec } from '../family.ts';
import { gemma3Text } from './gemma3-text.ts';

const keys = z.object({
  text_config: z.looseObject({ vocab_size: decoderKeys.vocab_size.nullish() }),
  vocab_size: decoderKeys.vocab_size.nullish(),
});

/**
 * mlx-lm `models/gemma3.py`: the language model of a vision model, with its own defaults for heads
 * and vocabulary.
 */
export const gemma3: Family = (config, tensorNames) => {
  const { text_config: text, vocab_size: vocabulary } = readConfig(keys, config);
  const inner = {
    ...text,
    vocab_size: vocabulary ?? text.vocab_size ?? 262_208,
    num_attention_heads: text['num_attention_heads'] ?? 8,
    num_key_value_heads: text['num_key_value_heads'] ?? 4,
  };
  return wrappedSpec(gemma3Text(inner, tensorNames));
};
