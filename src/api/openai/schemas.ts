import { z } from 'zod';
import { limits } from '../../base/limits.ts';

/**
 * Request bodies of OpenAI's API as far as a local model can answer them, and the sampling fields
 * that other servers have added (top_k, min_p, repetition_penalty, ignore_eos,
 * chat_template_kwargs). Unknown fields are ignored, as OpenAI's clients expect of a compatible
 * server; null stands for absent.
 */

const textPart = z.looseObject({ type: z.literal('text'), text: z.string() });
const refusalPart = z.looseObject({ type: z.literal('refusal'), refusal: z.string() });
const part = z.union([textPart, refusalPart], { error: 'expected a text part' });
const content = z.union([z.string(), z.array(part)], {
  error: 'expected a string or a list of text parts',
});

export type OpenAiContent = z.infer<typeof content>;

const toolCall = z.looseObject({
  id: z.string(),
  type: z.literal('function'),
  function: z.looseObject({ name: z.string(), arguments: z.string() }),
});

const messageSchema = z.discriminatedUnion('role', [
  z.looseObject({ role: z.enum(['system', 'developer', 'user']), content }),
  z.looseObject({
    role: z.literal('assistant'),
    content: content.nullish(),
    tool_calls: z.array(toolCall).nullish(),
  }),
  z.looseObject({ role: z.literal('tool'), content, tool_call_id: z.string() }),
]);
export type OpenAiMessage = z.infer<typeof messageSchema>;

const stopText = z.string().min(1).max(limits.stopMaxCharacters);
const stop = z.union([stopText, z.array(stopText).max(limits.stopsMax)], {
  error: `expected a string or a list of at most ${limits.stopsMax} strings`,
});

const samplingFields = {
  model: z.string().min(1),
  temperature: z.number().min(0).max(2).nullish(),
  top_p: z.number().min(0).max(1).nullish(),
  top_k: z.int().min(-1).nullish(),
  min_p: z.number().min(0).max(1).nullish(),
  repetition_penalty: z.number().gt(0).nullish(),
  presence_penalty: z.number().min(-2).max(2).nullish(),
  frequency_penalty: z.number().min(-2).max(2).nullish(),
  seed: z.int().nullish(),
  n: z.int().min(1).max(limits.choicesMax).nullish(),
  stop: stop.nullish(),
  logit_bias: z
    .record(z.string().regex(/^\d+$/), z.number().min(-100).max(100), {
      error: ({ code }) => (code === 'invalid_key' ? 'expected a token id for a key' : undefined),
    })
    .nullish(),
  stream: z.boolean().nullish(),
  stream_options: z.looseObject({ include_usage: z.boolean().nullish() }).nullish(),
  ignore_eos: z.boolean().nullish(),
  user: z.string().nullish(),
} as const;

const json: z.ZodType<Json> = z.json();
type Json = string | number | boolean | null | Json[] | { [key: string]: Json };

export const chatRequestSchema = z.looseObject({
  ...samplingFields,
  messages: z.array(messageSchema).min(1),
  max_tokens: z.int().min(1).nullish(),
  max_completion_tokens: z.int().min(1).nullish(),
  logprobs: z.boolean().nullish(),
  top_logprobs: z.int().min(0).max(limits.alternativesMax).nullish(),
  tools: z.array(json).nullish(),
  tool_choice: z
    .union([z.string(), z.looseObject({})], { error: 'expected a string or an object' })
    .nullish(),
  response_format: z.looseObject({ type: z.string() }).nullish(),
  chat_template_kwargs: z.record(z.string(), json).nullish(),
});
export type ChatRequest = z.infer<typeof chatRequestSchema>;

/** Of an item nobody knows whether it was meant as a text or as a token. */
const promptItem = {
  error: ({ code }: { code: string }) =>
    code === 'invalid_type' ? 'a prompt is text, or a list of whole token ids' : undefined,
};
const tokenIds = z.array(z.int(promptItem).nonnegative()).min(1);
const texts = z.array(z.string(promptItem)).min(1);

export const completionRequestSchema = z.looseObject({
  ...samplingFields,
  prompt: z.union([z.string(), texts, tokenIds, z.array(tokenIds).min(1)], {
    error: 'expected a string, a list of strings, a list of token ids or a list of such lists',
  }),
  max_tokens: z.int().min(0).nullish(),
  logprobs: z.int().min(0).max(limits.alternativesMax).nullish(),
  echo: z.boolean().nullish(),
  suffix: z.string().nullish(),
  best_of: z.int().min(1).nullish(),
});
export type CompletionRequest = z.infer<typeof completionRequestSchema>;

const samplingRequestSchema = z.object(samplingFields);
export type SamplingRequest = z.infer<typeof samplingRequestSchema>;
