import { z } from 'zod';
import { CideryError } from '../../base/error.ts';
import { type Config, readConfig } from '../config.ts';
import type { Family } from '../family.ts';
import { cohere2 } from './cohere2.ts';
import { gemma2 } from './gemma2.ts';
import { gemma3 } from './gemma3.ts';
import { gemma3Text } from './gemma3-text.ts';
import { glm4 } from './glm4.ts';
import { granite } from './granite.ts';
import { llama } from './llama.ts';
import { ministral3 } from './ministral3.ts';
import { mistral3 } from './mistral3.ts';
import { olmo2 } from './olmo2.ts';
import { phi3 } from './phi3.ts';
import { qwen2 } from './qwen2.ts';
import { qwen3 } from './qwen3.ts';
import { smollm3 } from './smollm3.ts';

/** By config.json's `model_type`; the second names of a family are mlx-lm's. */
const families: ReadonlyMap<string, Family> = new Map([
  ['cohere2', cohere2],
  ['gemma2', gemma2],
  ['gemma3', gemma3],
  ['gemma3_text', gemma3Text],
  ['glm4', glm4],
  ['granite', granite],
  ['iquestcoder', llama],
  ['llama', llama],
  ['ministral3', ministral3],
  ['mistral', llama],
  ['mistral3', mistral3],
  ['olmo2', olmo2],
  ['phi3', phi3],
  ['qwen2', qwen2],
  ['qwen3', qwen3],
  ['smollm3', smollm3],
]);

/** Every `model_type` that cidery runs. */
export const supportedModelTypes: readonly string[] = [...families.keys()];

/** @throws CideryError `model_unsupported` that names the type and the supported ones. */
export function familyOf(config: Config): Family {
  const { model_type: type } = readConfig(z.object({ model_type: z.string() }), config);
  const family = families.get(type);
  if (family !== undefined) return family;
  throw new CideryError(
    'model_unsupported',
    `models of type '${type.slice(0, 60)}' are not supported`,
    { hint: `supported types: ${supportedModelTypes.join(', ')}` },
  );
}
