import { z } from 'zod';
import { modelId } from '../base/ids.ts';
import { type ModelManifest, modelManifestSchema } from '../model/manifest.ts';
import { runInThread } from '../platform/own-thread.ts';
import type { ModelOnDisk } from './model-library.ts';

/** What the thread is asked for. */
export const manifestRequestSchema = z.strictObject({
  model: z.strictObject({
    id: z.string().transform(modelId),
    kind: z.enum(['safetensors', 'gguf']),
    path: z.string(),
  }),
  /** Where tokenizers made from GGUF metadata are kept. */
  cacheFolder: z.string(),
});

/**
 * A model's manifest, read in a thread of its own: the vocabulary of a GGUF file takes 0.2 s to
 * read and seconds to make a tokenizer of, in which the daemon has to answer. Rejects with what
 * `readManifest` throws, and `thread_ended`.
 *
 * @param script the compiled manifest-worker
 */
export async function manifestInThread(
  script: URL,
  { id, kind, path }: ModelOnDisk,
  cacheFolder: string,
): Promise<ModelManifest> {
  const request: z.input<typeof manifestRequestSchema> = { model: { id, kind, path }, cacheFolder };
  return modelManifestSchema.parse(await runInThread(script, request));
}
