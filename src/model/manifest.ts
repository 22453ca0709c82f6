import { z } from 'zod';

/**
 * What is on disk of one model, as the store found it and as a rank loads it: config, the byte
 * range of every tensor, and where the text side lies. It is plain JSON: the daemon sends it to a
 * rank over the pipe.
 */

/** Element layouts that safetensors files hold; `U32` carries MLX's packed affine words. */
export const plainFormats = [
  'F64',
  'F32',
  'F16',
  'BF16',
  'I64',
  'I32',
  'I16',
  'I8',
  'U64',
  'U32',
  'U16',
  'U8',
  'BOOL',
  'F8_E4M3',
  'F8_E5M2',
  'F8_E8M0',
] as const;

/** Block layouts that GGUF files hold (ggml's names). */
export const blockFormats = [
  'Q4_0',
  'Q4_1',
  'Q5_0',
  'Q5_1',
  'Q8_0',
  'Q2_K',
  'Q3_K',
  'Q4_K',
  'Q5_K',
  'Q6_K',
  'IQ4_NL',
  'MXFP4',
] as const;

const tensorFormatSchema = z.enum([...plainFormats, ...blockFormats]);
export type TensorFormat = z.infer<typeof tensorFormatSchema>;

/** What must be done to a tensor's values, in order, to make them what mlx-lm's parameter holds. */
const tensorTransformSchema = z.discriminatedUnion('kind', [
  /** Undo llama.cpp's row order of q and k: row (h, i, j) of [heads, width/2, 2] was (h, j, i). */
  z.strictObject({ kind: z.literal('unpermuteRope'), heads: z.int().positive() }),
  /** Add a constant to every value (llama.cpp stores gemma's norms with their 1 added). */
  z.strictObject({ kind: z.literal('add'), value: z.number() }),
]);
export type TensorTransform = z.infer<typeof tensorTransformSchema>;

const tensorEntrySchema = z.strictObject({
  /** The name that mlx-lm's loader would see (Hugging Face's), also for GGUF files. */
  name: z.string(),
  format: tensorFormatSchema,
  /** Outermost dimension first; for a block format the logical shape, not the packed one. */
  shape: z.array(z.int().nonnegative()),
  /** Index into `files`. */
  file: z.int().nonnegative(),
  /** Absolute byte offset in that file. */
  offset: z.int().nonnegative(),
  byteLength: z.int().nonnegative(),
  transforms: z.array(tensorTransformSchema),
});
export type TensorEntry = z.infer<typeof tensorEntrySchema>;

const modelTextSchema = z.strictObject({
  /** Absolute path of a tokenizer.json; for a GGUF file the store writes it from the metadata. */
  tokenizerPath: z.string().nullable(),
  /** Jinja source of the chat template; null when the model has none. */
  chatTemplate: z.string().nullable(),
  /** What templates see as bos_token, eos_token and the like. */
  specialTokens: z.record(z.string(), z.string()),
  /** Ids that end a generation: generation_config, else config, and the tokenizer's own. */
  eosIds: z.array(z.int().nonnegative()),
});
export type ModelText = z.infer<typeof modelTextSchema>;

export const modelManifestSchema = z.strictObject({
  id: z.string(),
  files: z.array(z.strictObject({ path: z.string(), sizeBytes: z.int().nonnegative() })),
  /** config.json as it is (for a GGUF file the equivalent one, built from its metadata). */
  config: z.record(z.string(), z.unknown()),
  tensors: z.array(tensorEntrySchema),
  text: modelTextSchema,
});
export type ModelManifest = z.infer<typeof modelManifestSchema>;
