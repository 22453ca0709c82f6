import { z } from 'zod';
import { CideryError } from '../base/error.ts';

/** The parts of a tokenizer.json that this side reads by itself; the Rust package reads all of it. */
const tokenizerFileSchema = z.looseObject({
  added_tokens: z
    .array(z.looseObject({ id: z.int().nonnegative(), content: z.string(), special: z.boolean() }))
    .nullish(),
  decoder: z.looseObject({ type: z.string() }).nullish(),
});
export type TokenizerFile = z.infer<typeof tokenizerFileSchema>;

/** Throws `tokenizer_invalid`. */
export function parseTokenizerFile(json: string): TokenizerFile {
  const result = tokenizerFileSchema.safeParse(parse(json));
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  throw invalid(`${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'malformed'}`);
}

/** The same tokenizer without its control tokens: their text is ordinary text to it. */
export function withoutSpecialTokens(json: string): string {
  const file = parseTokenizerFile(json);
  const kept = (file.added_tokens ?? []).filter(({ special }) => !special);
  // What is put around a text names control tokens, which this one does not know.
  return JSON.stringify({ ...file, added_tokens: kept, post_processor: null });
}

function parse(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch (cause) {
    throw new CideryError('tokenizer_invalid', 'tokenizer.json is not JSON', { cause });
  }
}

export function invalid(reason: string): CideryError {
  return new CideryError('tokenizer_invalid', `tokenizer.json cannot be used: ${reason}`, {
    hint: 'fetch the model again; if it stays so, the file itself is broken',
  });
}
