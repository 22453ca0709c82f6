import type { GenerateOptions, Sampling } from '../../src/engine/protocol.ts';

export const greedySampling: Sampling = {
  temperature: 0,
  topP: 1,
  topK: 0,
  minP: 0,
  repetitionPenalty: 1,
  presencePenalty: 0,
  frequencyPenalty: 0,
  seed: '1',
  logitBias: [],
};

/** One greedy answer of eight tokens, whatever they are. */
export const greedyOptions: GenerateOptions = {
  maxTokens: 8,
  ignoreEos: true,
  stop: [],
  choices: 1,
  logprobs: null,
  skipSpecial: true,
  sampling: greedySampling,
};
