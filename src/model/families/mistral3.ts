import { z } from 'zod';
import { CideryError } from '../../base/error.ts';
import { readConfig } from '../config.ts';
import { type Family, wrappedSpec } from '../family.ts';
import { llama } from './llama.ts';
import { ministral3 } from './ministral3.ts';

const keys = z.object({ text_config: z.looseObject({ model_type: z.string().nullish() }) });

/**
 * mlx-lm `models/mistral3.py`: the language model of a vision model; untied unless its text_config
 * says so.
 */
export const mistral3: Family = (config, tensorNames) => {
  const { text_config: text } = readConfig(keys, config);
  const inner = text.model_type ?? 'mistral';
  const untied = { tie_word_embeddings: false, ...text };
  switch (inner) {
    case 'ministral3':
      return wrappedSpec(ministral3(untied, tensorNames));
    case 'mistral':
    case 'llama':
      return wrappedSpec(llama(untied, tensorNames));
    default:
      throw new CideryError(
        'model_unsupported',
        `a mistral3 model around '${inner.slice(0, 40)}' is not supported`,
        { hint: 'those around mistral, llama and ministral3 are' },
      );
  }
};
