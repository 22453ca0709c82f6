import type { GenerateOptions } from '../../engine/protocol.ts';
import { FieldError } from '../http-error.ts';
import type { SamplingRequest } from './schemas.ts';

/** Generation options out of the sampling fields that chat and text completions share. */
export function generateOptions(
  body: SamplingRequest,
  own: { readonly maxTokens: number | null; readonly logprobs: number | null },
  newSeed: () => string,
): GenerateOptions {
  const stop = body.stop ?? [];
  return {
    maxTokens: own.maxTokens,
    ignoreEos: body.ignore_eos ?? false,
    stop: typeof stop === 'string' ? [stop] : stop,
    choices: body.n ?? 1,
    logprobs: own.logprobs,
    skipSpecial: true,
    sampling: {
      temperature: body.temperature ?? 1,
      topP: body.top_p ?? 1,
      topK: Math.max(body.top_k ?? 0, 0),
      minP: body.min_p ?? 0,
      repetitionPenalty: body.repetition_penalty ?? 1,
      presencePenalty: body.presence_penalty ?? 0,
      frequencyPenalty: body.frequency_penalty ?? 0,
      seed: seedOf(body.seed, newSeed),
      logitBias: Object.entries(body.logit_bias ?? {}).map(([token, value]) => ({
        token: tokenOf(token),
        value,
      })),
    },
  };
}

function tokenOf(text: string): number {
  const token = Number(text);
  if (!Number.isSafeInteger(token) || token > 0xffff_ffff) {
    throw new FieldError('invalid_value', `Invalid token '${text}' in 'logit_bias'.`, 'logit_bias');
  }
  return token;
}

/** Any integer is a seed; a negative one counts as its 64-bit pattern. */
function seedOf(seed: number | null | undefined, newSeed: () => string): string {
  return seed === null || seed === undefined
    ? newSeed()
    : BigInt.asUintN(64, BigInt(seed)).toString();
}
