import { z } from 'zod';
import { splitKinds } from '../model/split/plan.ts';
import { modelManifestSchema } from '../model/manifest.ts';

/**
 * What the daemon and a rank say to each other: one JSON object a line over the control descriptor,
 * parsed at both ends. The daemon reaches the engine through this file alone.
 */

/** Descriptor of the control socket that a rank inherits: messages both ways. */
export const controlDescriptor = 3;
/**
 * Descriptor of the lifeline, a socket: when it closes, the daemon is gone and the rank leaves. The
 * rank's native thread writes a sign of life to it, whatever its JavaScript does.
 */
export const lifelineDescriptor = 4;
/** Exit status of a rank whose daemon is gone. */
export const orphanExitCode = 83;

const tokenId = z.int().nonnegative();
const requestKey = z.string().min(1).max(128);

/** A JSON value that templates see: tool definitions, tool calls, template variables. */
export type Json = string | number | boolean | null | Json[] | { [key: string]: Json };
const json: z.ZodType<Json> = z.json();

/**
 * A message as chat templates take them: a role, content, and whatever else the client's API
 * carries over.
 */
export const chatMessageSchema = z.looseObject({ role: z.string() }).catchall(json);
export type ChatMessage = z.infer<typeof chatMessageSchema>;

const promptInputSchema = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('chat'),
    messages: z.array(chatMessageSchema),
    tools: z.array(json).nullable(),
    /** Further variables of the template, such as enable_thinking. */
    variables: z.record(z.string(), json),
  }),
  /**
   * `special`: control tokens in the text are parsed and what the tokenizer puts around a text is
   * added.
   */
  z.strictObject({ kind: z.literal('text'), text: z.string(), special: z.boolean() }),
  z.strictObject({ kind: z.literal('ids'), ids: z.array(tokenId).min(1) }),
]);
export type PromptInput = z.infer<typeof promptInputSchema>;

const samplingSchema = z.strictObject({
  /** 0: greedy. */
  temperature: z.number().min(0),
  topP: z.number().min(0).max(1),
  /** 0: all. */
  topK: z.int().nonnegative(),
  minP: z.number().min(0).max(1),
  repetitionPenalty: z.number().positive(),
  presencePenalty: z.number(),
  frequencyPenalty: z.number(),
  /** Decimal digits of an unsigned 64-bit number. */
  seed: z.string().regex(/^\d{1,20}$/),
  logitBias: z.array(z.strictObject({ token: tokenId, value: z.number() })),
});
export type Sampling = z.infer<typeof samplingSchema>;

const generateOptionsSchema = z.strictObject({
  /** Null: as far as the context goes. */
  maxTokens: z.int().nonnegative().nullable(),
  ignoreEos: z.boolean(),
  stop: z.array(z.string().min(1)),
  /** Independent answers to the one prompt. */
  choices: z.int().positive(),
  /** Null: none; n: the chosen token's logprob and n alternatives. */
  logprobs: z.int().nonnegative().nullable(),
  /** Whether control tokens are left out of the text that is sent. */
  skipSpecial: z.boolean(),
  sampling: samplingSchema,
});
export type GenerateOptions = z.infer<typeof generateOptionsSchema>;

const engineSettingsSchema = z.strictObject({
  executor: z.enum(['cpu', 'mlx']),
  precise: z.boolean(),
  /** Null: the model's own maximum as far as the memory for keys and values allows. */
  contextLength: z.int().positive().nullable(),
  /** Bytes for keys and values. */
  cacheBytes: z.int().positive(),
  /** Sequences that run at once at most. */
  slots: z.int().positive(),
  /** 0: one a core. */
  threads: z.int().nonnegative(),
});
export type EngineSettings = z.infer<typeof engineSettingsSchema>;

const addressSchema = z.strictObject({
  /** A numeric IPv4 or IPv6 address. */
  host: z.string().min(1),
  port: z.int().min(1).max(65_535),
});
export type Address = z.infer<typeof addressSchema>;

/**
 * What ranks talk through. MLX's ring is neither authenticated nor encrypted: it is there to be
 * compared with, in an addon that set-up makes for tests and the bench alone, and on loopback.
 */
export const groupBackends = ['tcp', 'unsealed-mlx-ring'] as const;
export type GroupBackend = (typeof groupBackends)[number];

/** A rank's place among those that a model is split over. */
const groupPlaceSchema = z.strictObject({
  rank: z.int().nonnegative(),
  ranks: z.int().min(2),
  split: z.enum(splitKinds),
  /** Weights of the ranks' parts; null: as even as can be. */
  shares: z.array(z.number().positive()).nullable(),
  backend: z.enum(groupBackends),
  /** The key of this attempt's ranks: 32 random bytes in base64. */
  key: z.base64().length(44),
  /** Address that the rank listens at for the others. */
  host: z.string().min(1),
  /** A rank of which nothing is heard for so long is lost. */
  silenceMs: z.int().positive(),
});
export type GroupPlace = z.infer<typeof groupPlaceSchema>;

/**
 * A request that another attempt of the same model has begun: it goes on behind these ids.
 * `maxTokens` and the sampler's prompt count from the original prompt, as if nothing had happened.
 */
const resumeSchema = z.strictObject({
  /** As `started` told them; the request's input is not read again. */
  promptIds: z.array(tokenId).min(1),
  /** One for each of the request's choices. */
  choices: z.array(
    z.strictObject({
      /** What was drawn so far, as the deltas brought it. */
      ids: z.array(tokenId),
      /** Tokens that count as generated: one for each delta. */
      generated: z.int().nonnegative(),
      /** UTF-16 units of text that were sent already and are not sent again. */
      textLength: z.int().nonnegative(),
      /** It had ended: nothing of it is computed or sent. */
      finished: z.boolean(),
    }),
  ),
});
export type Resume = z.infer<typeof resumeSchema>;

/** Work on text alone; needs no open model. `tokenizer` is the path of a tokenizer.json. */
const textOperationSchema = z.discriminatedUnion('op', [
  z.strictObject({
    op: z.literal('tokenize'),
    tokenizer: z.string(),
    text: z.string(),
    special: z.boolean(),
  }),
  z.strictObject({
    op: z.literal('detokenize'),
    tokenizer: z.string(),
    ids: z.array(tokenId),
    skipSpecial: z.boolean(),
  }),
  z.strictObject({
    op: z.literal('render'),
    template: z.string(),
    messages: z.array(chatMessageSchema),
    tools: z.array(json).nullable(),
    addGenerationPrompt: z.boolean(),
    variables: z.record(z.string(), json),
    /** ISO date and time that strftime_now prints; null: the clock's. */
    now: z.string().nullable(),
  }),
]);
export type TextOperation = z.infer<typeof textOperationSchema>;

export const toRankSchema = z.discriminatedUnion('type', [
  z.strictObject({
    type: z.literal('open'),
    manifest: modelManifestSchema,
    settings: engineSettingsSchema,
    /** Null: this rank runs the whole model. */
    group: groupPlaceSchema.nullable(),
  }),
  /** Where each rank of the group listens, in rank order: after every one has said so. */
  z.strictObject({ type: z.literal('peers'), addresses: z.array(addressSchema).min(2) }),
  z.strictObject({
    type: z.literal('generate'),
    id: requestKey,
    input: promptInputSchema,
    options: generateOptionsSchema,
    /** Null: a new request. */
    resume: resumeSchema.nullable(),
  }),
  z.strictObject({ type: z.literal('cancel'), id: requestKey }),
  z.strictObject({
    type: z.literal('logits'),
    id: requestKey,
    ids: z.array(tokenId).min(1),
    last: z.int().positive(),
    /** File that gets the rows, as safetensors. */
    out: z.string(),
  }),
  /**
   * A known answer: the greedy ids that follow a prompt, and a checksum of the prompt's logits,
   * computed in steps with whatever else runs.
   */
  z.strictObject({
    type: z.literal('check'),
    id: requestKey,
    ids: z.array(tokenId).min(1),
    tokens: z.int().positive(),
  }),
  z.strictObject({ type: z.literal('text'), id: requestKey, operation: textOperationSchema }),
  z.strictObject({ type: z.literal('ping'), number: z.int() }),
  /** Leave in order. */
  z.strictObject({ type: z.literal('close') }),
]);
export type ToRank = z.infer<typeof toRankSchema>;

const faultSchema = z.strictObject({
  code: z.string(),
  message: z.string(),
  hint: z.string().nullable(),
});

const logprobSchema = z.strictObject({ token: tokenId, text: z.string(), logprob: z.number() });

const tokenLogprobsSchema = logprobSchema.extend({ alternatives: z.array(logprobSchema) });
export type TokenLogprobs = z.infer<typeof tokenLogprobsSchema>;

const finishReasonSchema = z.enum(['stop', 'length']);
export type FinishReason = z.infer<typeof finishReasonSchema>;

const engineMemorySchema = z.strictObject({
  weightBytes: z.number(),
  cacheBytes: z.number(),
  activeBytes: z.number(),
  peakBytes: z.number(),
  liveArrays: z.number(),
});

export const fromRankSchema = z.discriminatedUnion('type', [
  /** First of all: the rank is up. */
  z.strictObject({ type: z.literal('hello'), protocol: z.literal(1), pid: z.int() }),
  z.strictObject({
    type: z.literal('progress'),
    stage: z.enum(['tokenizer', 'weights']),
    doneBytes: z.number(),
    totalBytes: z.number(),
  }),
  /** A rank of a group waits for the others at this port. */
  z.strictObject({ type: z.literal('listening'), port: z.int().min(1).max(65_535) }),
  z.strictObject({
    type: z.literal('opened'),
    contextLength: z.int(),
    slots: z.int(),
    vocabulary: z.int(),
    loadMs: z.number(),
    memory: engineMemorySchema,
  }),
  /** The rank can not go on and leaves. */
  z.strictObject({ type: z.literal('failed'), fault: faultSchema }),
  z.strictObject({
    type: z.literal('started'),
    id: requestKey,
    promptIds: z.array(tokenId),
  }),
  z.strictObject({
    type: z.literal('delta'),
    id: requestKey,
    choice: z.int().nonnegative(),
    ids: z.array(tokenId),
    text: z.string(),
    logprobs: z.array(tokenLogprobsSchema),
  }),
  z.strictObject({
    type: z.literal('finished'),
    id: requestKey,
    choice: z.int().nonnegative(),
    reason: finishReasonSchema,
    /** The stop string that ended it. */
    stop: z.string().nullable(),
  }),
  /** After the last choice has finished. */
  z.strictObject({
    type: z.literal('done'),
    id: requestKey,
    usage: z.strictObject({
      promptTokens: z.int(),
      /** Prompt positions that an earlier request had computed. */
      cachedTokens: z.int(),
      generatedTokens: z.int(),
    }),
    timings: z.strictObject({ queueMs: z.number(), promptMs: z.number(), generateMs: z.number() }),
  }),
  z.strictObject({ type: z.literal('error'), id: requestKey, fault: faultSchema }),
  z.strictObject({ type: z.literal('reply'), id: requestKey, value: z.record(z.string(), json) }),
  z.strictObject({
    type: z.literal('pong'),
    number: z.int(),
    running: z.int(),
    waiting: z.int(),
    /**
     * Steps so far, and tokens computed and generated in them. A rank that follows another counts
     * steps alone.
     */
    steps: z.int(),
    promptTokens: z.int(),
    generatedTokens: z.int(),
    memory: engineMemorySchema,
  }),
]);
export type FromRank = z.infer<typeof fromRankSchema>;

/** Messages from the rank that belong to one request. */
export type RequestMessage = Extract<FromRank, { id: string }>;
