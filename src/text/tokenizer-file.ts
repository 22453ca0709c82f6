import { z } from 'zod';
import { CideryError } from '../base/error.ts';

/**
 * The parts of a tokenizer.json that this side reads by itself; the Rust package reads all of it.
 */
const tokenizerFileSchema = z.looseObject({
  added_tokens: z
    .array(z.looseObject({ id: z.int().nonnegative(), content: z.string(), special: z.boolean() }))
    .nullish(),
  decoder: z.looseObject({ type: z.string() }).nullish(),
  model: z.looseObject({}).nullish(),
});
export type TokenizerFile = z.infer<typeof tokenizerFileSchema>;

/** Throws `tokenizer_invalid`. */
export function parseTokenizerFile(json: string): TokenizerFile {
  return checked(parse(json));
}

/**
 * The same without its model, the vocabulary and merges, which are nearly all of a file: they come
 * last, and parsing takes 50 ms a megabyte. Throws `tokenizer_invalid`.
 */
export function parseTokenizerHead(json: string): Pick<TokenizerFile, 'added_tokens' | 'decoder'> {
  // Within a text a quote is escaped: this is a key. What is before it parses only if nothing but
  // the file's own brace is open there.
  const at = json.search(/"model"\s*:/u);
  try {
    const head: unknown = JSON.parse(`${json.slice(0, Math.max(at, 0))}"model":null}`);
    const { added_tokens, decoder } = checked(head);
    if (added_tokens !== undefined && decoder !== undefined) return { added_tokens, decoder };
  } catch {
    // Another order of keys: then as a whole.
  }
  return parseTokenizerFile(json);
}

function checked(file: unknown): TokenizerFile {
  const result = tokenizerFileSchema.safeParse(file);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  throw invalid(`${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'malformed'}`);
}

/**
 * The same tokenizer with other names for some of its added tokens, which keep their ids. The old
 * names are ordinary text to it: they leave the vocabulary and the merges too, or a tokenizer that
 * looks words up whole would still find them.
 */
export function renameAddedTokens(
  file: TokenizerFile,
  names: ReadonlyMap<string, string>,
): TokenizerFile {
  const added = (file.added_tokens ?? []).map((token) => {
    const content = names.get(token.content);
    // A new name is matched in the text as it came, before anything normalizes it.
    return content === undefined ? token : { ...token, content, normalized: false };
  });
  // What is put around a text goes by the old names.
  const changed = { ...file, added_tokens: added, post_processor: null };
  return { ...changed, model: renameInModel(file.model ?? {}, names) };
}

function renameInModel(
  model: Record<string, unknown>,
  names: ReadonlyMap<string, string>,
): Record<string, unknown> {
  const rename = (name: string): string => names.get(name) ?? name;
  const renamed: Record<string, unknown> = { ...model };
  const { vocab, merges, unk_token: unknown } = model;
  if (typeof unknown === 'string') renamed['unk_token'] = rename(unknown);
  if (Array.isArray(merges)) {
    renamed['merges'] = merges.filter((merge: unknown) => !names.has(mergeResult(merge)));
  }
  if (Array.isArray(vocab)) {
    renamed['vocab'] = vocab.map((entry: unknown) => {
      const [piece, score] = z.tuple([z.string(), z.number()]).parse(entry);
      return [rename(piece), score];
    });
  } else if (typeof vocab === 'object' && vocab !== null) {
    const entries = new Map(Object.entries(vocab));
    for (const [name, secret] of names) {
      const id: unknown = entries.get(name);
      if (entries.delete(name)) entries.set(secret, id);
    }
    renamed['vocab'] = Object.fromEntries(entries);
  }
  return renamed;
}

/** What a merge makes of its two parts, written as a pair or with a space between. */
function mergeResult(merge: unknown): string {
  if (typeof merge === 'string') return merge.replace(' ', '');
  return Array.isArray(merge) ? merge.join('') : '';
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
