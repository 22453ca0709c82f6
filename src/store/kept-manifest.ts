import { createHash } from 'node:crypto';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import { limits } from '../base/limits.ts';
import { type ModelManifest, modelManifestSchema } from '../model/manifest.ts';
import type { Disk } from '../ports/disk.ts';

const keptSchema = z.strictObject({
  maker: z.string(),
  /** When each of the manifest's files was written. */
  modifiedMs: z.array(z.number()),
  manifest: modelManifestSchema,
});

/**
 * The manifest that `read` brings, kept in a folder for the next time: the vocabulary of a GGUF
 * file takes a tenth of a second a megabyte to read. What was kept counts while the same code made
 * it and every file has the size and time that it had. Nothing that is wrong with the folder is an
 * error.
 *
 * @param maker names the code that `read` is
 */
export async function keptManifest(
  disk: Disk,
  folder: string,
  maker: string,
  model: { readonly id: string; readonly path: string },
  read: () => Promise<ModelManifest>,
): Promise<ModelManifest> {
  const name = createHash('sha256')
    .update(JSON.stringify([model.id, model.path]))
    .digest('hex');
  const file = join(folder, `${name.slice(0, 32)}.json`);
  const known = await found(disk, file, maker).catch(() => null);
  if (known !== null) return known;
  const manifest = await read();
  await keep(disk, file, maker, manifest).catch(() => {
    // It is read again next time.
  });
  return manifest;
}

async function found(disk: Disk, file: string, maker: string): Promise<ModelManifest | null> {
  const text = await disk.readText(file, limits.keptManifestMaxBytes);
  const kept = keptSchema.parse(JSON.parse(text));
  if (kept.maker !== maker) return null;
  const { files, text: side } = kept.manifest;
  const tokenizer = side.tokenizerPath;
  if (tokenizer !== null && (await disk.facts(tokenizer)) === null) return null;
  for (const [index, { path, sizeBytes }] of files.entries()) {
    const facts = await disk.facts(path);
    const same = facts?.sizeBytes === sizeBytes && facts.modifiedMs === kept.modifiedMs[index];
    if (!same) return null;
  }
  return kept.manifest;
}

async function keep(
  disk: Disk,
  file: string,
  maker: string,
  manifest: ModelManifest,
): Promise<void> {
  const facts = await Promise.all(manifest.files.map(({ path }) => disk.facts(path)));
  const modifiedMs = facts.map((fact) => fact?.modifiedMs ?? Number.NaN);
  const kept: z.input<typeof keptSchema> = { maker, modifiedMs, manifest };
  const text = JSON.stringify(kept);
  if (text.length > limits.keptManifestMaxBytes) return;
  await disk.makeFolder(dirname(file));
  await disk.writeTextAtomically(file, text);
}
