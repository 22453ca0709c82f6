import { z } from 'zod';
import { splitKinds } from '../model/split/plan.ts';
import { chatMessageSchema, type Json } from '../engine/protocol.ts';

const tokenIds = z.array(z.int().nonnegative());
const promptIds = tokenIds.min(1);
const json: z.ZodType<Json> = z.json();
const common = { id: z.unknown().optional() } as const;
const generateFields = {
  ...common,
  op: z.literal('generate'),
  model: z.string().min(1),
  maxTokens: z.int().positive(),
  ignoreEos: z.boolean().optional(),
  logprobs: z.boolean().optional(),
} as const;

const generateSchema = z.strictObject({ ...generateFields, ids: promptIds });
/** Of `generate` with several prompts; a schema of its own, so that errors name what is wrong. */
export const generateBatchSchema = z.strictObject({
  ...generateFields,
  batch: z.array(promptIds).min(1),
});
export type GenerateRequest = z.infer<typeof generateSchema> | z.infer<typeof generateBatchSchema>;

const logitsSchema = z.strictObject({
  ...common,
  op: z.literal('logits'),
  model: z.string().min(1),
  ids: promptIds,
  /** How many of the last positions; absent: the very last. */
  last: z.int().positive().optional(),
  /** The safetensors file that is written. */
  out: z.string().min(1),
});
export type LogitsRequest = z.infer<typeof logitsSchema>;

const tokenizeSchema = z.strictObject({
  ...common,
  op: z.literal('tokenize'),
  /** Path of a tokenizer.json, or a model. */
  tokenizer: z.string().min(1),
  text: z.string(),
  special: z.boolean().optional(),
});
export type TokenizeRequest = z.infer<typeof tokenizeSchema>;

const detokenizeSchema = z.strictObject({
  ...common,
  op: z.literal('detokenize'),
  tokenizer: z.string().min(1),
  ids: tokenIds,
  skipSpecial: z.boolean().optional(),
});
export type DetokenizeRequest = z.infer<typeof detokenizeSchema>;

const renderSchema = z.strictObject({
  ...common,
  op: z.literal('render'),
  template: z.string(),
  messages: z.array(chatMessageSchema),
  tools: z.array(json).nullish(),
  addGenerationPrompt: z.boolean().optional(),
  variables: z.record(z.string(), json).optional(),
  now: z.string().nullish(),
});
export type RenderRequest = z.infer<typeof renderSchema>;

const parametersSchema = z.strictObject({
  ...common,
  op: z.literal('parameters'),
  model: z.string().min(1),
  ranks: z.int().positive().optional(),
  split: z.enum([...splitKinds, 'auto']).optional(),
});
export type ParametersRequest = z.infer<typeof parametersSchema>;

/** The requests of `cidery debug`, by their `op`. */
export const debugSchemas = {
  generate: generateSchema,
  logits: logitsSchema,
  tokenize: tokenizeSchema,
  detokenize: detokenizeSchema,
  render: renderSchema,
  parameters: parametersSchema,
} as const;
