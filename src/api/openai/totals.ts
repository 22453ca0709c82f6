import type { GenerationEvent } from '../../node/generation.ts';

/** The end of a prompt's answers. */
export type Done = Extract<GenerationEvent, { type: 'done' }>;

/** What the closing part of an answer says of the whole. */
export interface Totals {
  readonly usage: object;
  readonly timings: object;
}

/**
 * OpenAI's `usage` of a request, and beyond OpenAI `timings` under the names that llama.cpp's
 * server gives them: milliseconds by the engine's clock, `prompt_ms` until the first token and
 * `predicted_ms` for those after it; of several prompts the sums.
 */
export function totalsOf(ends: readonly Done[]): Totals {
  const sum = (of: (end: Done) => number) => ends.reduce((total, end) => total + of(end), 0);
  const prompt = sum(({ usage }) => usage.promptTokens);
  const cached = sum(({ usage }) => usage.cachedTokens);
  const generated = sum(({ usage }) => usage.generatedTokens);
  return {
    usage: {
      prompt_tokens: prompt,
      completion_tokens: generated,
      total_tokens: prompt + generated,
      prompt_tokens_details: { cached_tokens: cached },
    },
    timings: {
      prompt_n: prompt - cached,
      prompt_ms: sum(({ timings }) => timings.promptMs),
      predicted_n: generated,
      predicted_ms: sum(({ timings }) => timings.generateMs),
    },
  };
}
