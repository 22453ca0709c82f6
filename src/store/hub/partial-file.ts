import { basename, dirname, join } from 'node:path';
import { z } from 'zod';
import { errorCode } from '../../base/error.ts';
import { limits } from '../../base/limits.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Disk, WritableFile } from '../../ports/disk.ts';
import { addRange, type ByteRanges, clipRanges, missingRanges, totalBytes } from './byte-ranges.ts';
import type { HubFile } from './listing.ts';

/**
 * A file on its way: bytes in `PATH.cidery-partial`, and beside it which of them are there.
 * (Python's `PATH.incomplete` is another form: it holds a prefix, ours may have holes.)
 */
export const partialSuffix = '.cidery-partial';
const stateSuffix = '.cidery-partial.json';

const stateSchema = z.strictObject({
  version: z.literal(1),
  sizeBytes: z.int().nonnegative(),
  hash: z.string(),
  /** [start, end) of what has been written and synced. */
  done: z.array(z.tuple([z.int().nonnegative(), z.int().positive()])).max(100_000),
});

/** Reads the state beside a partial file; nothing usable there means that nothing is done. */
async function readDone(disk: Disk, path: string, file: HubFile): Promise<ByteRanges> {
  const facts = await disk.facts(path + partialSuffix);
  if (facts?.kind !== 'file') return [];
  let text: string;
  try {
    text = await disk.readText(path + stateSuffix, limits.hubStateMaxBytes);
  } catch (error) {
    if (['file_missing', 'file_too_large'].includes(errorCode(error))) return [];
    throw error;
  }
  const state = stateSchema.safeParse(parseJson(text));
  if (!state.success) return [];
  const { sizeBytes, hash, done } = state.data;
  if (sizeBytes !== file.sizeBytes || hash !== file.digest.hex) return [];
  const ranges = done.reduce<ByteRanges>((sum, [start, end]) => addRange(sum, { start, end }), []);
  // A file that has been cut since holds nothing past its end, whatever the state says.
  return clipRanges(ranges, Math.min(facts.sizeBytes, sizeBytes));
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** Bytes of a file that an earlier try has left. */
export async function partialBytes(disk: Disk, path: string, file: HubFile): Promise<number> {
  return totalBytes(await readDone(disk, path, file));
}

/** One file being filled in any order; its caller holds the file's lock. */
export class PartialFile {
  readonly #disk: Disk;
  readonly #clock: Clock;
  readonly #path: string;
  readonly #file: HubFile;
  readonly #out: WritableFile;
  readonly #saveMs: number;
  #done: ByteRanges;
  #savedAtMs: number;
  #saving: Promise<void> = Promise.resolve();
  #isSaving = false;

  private constructor(
    ports: { disk: Disk; clock: Clock },
    path: string,
    file: HubFile,
    state: { out: WritableFile; done: ByteRanges; saveMs: number },
  ) {
    this.#disk = ports.disk;
    this.#clock = ports.clock;
    this.#path = path;
    this.#file = file;
    this.#out = state.out;
    this.#done = state.done;
    this.#saveMs = state.saveMs;
    this.#savedAtMs = ports.clock.monotonic();
  }

  /** Opens what an earlier try left at `path`, or begins. */
  static async open(
    ports: { disk: Disk; clock: Clock },
    path: string,
    file: HubFile,
    saveMs: number,
  ): Promise<PartialFile> {
    const done = await readDone(ports.disk, path, file);
    const out = await ports.disk.openForWriting(path + partialSuffix);
    return new PartialFile(ports, path, file, { out, done, saveMs });
  }

  get path(): string {
    return this.#path + partialSuffix;
  }

  get doneBytes(): number {
    return totalBytes(this.#done);
  }

  missing(): ByteRanges {
    return missingRanges(this.#done, this.#file.sizeBytes);
  }

  /** Writes bytes and, now and then, what is there; resolves to how many of them were new. */
  async write(offset: number, bytes: Uint8Array): Promise<number> {
    await this.#out.write(offset, bytes);
    const before = this.doneBytes;
    this.#done = addRange(this.#done, { start: offset, end: offset + bytes.length });
    const gained = this.doneBytes - before;
    const isDue = this.#clock.monotonic() - this.#savedAtMs >= this.#saveMs;
    if (isDue && !this.#isSaving) await this.save();
    return gained;
  }

  /** Writes the state; data reach the disk before the state that speaks of them. */
  save(): Promise<void> {
    const next = this.#saving.then(() => this.#saveNow());
    // The chain goes on after a failure; who asked for this save gets the error.
    this.#saving = next.catch(() => undefined);
    return next;
  }

  async #saveNow(): Promise<void> {
    this.#isSaving = true;
    try {
      const done = this.#done;
      await this.#out.sync();
      const state: z.infer<typeof stateSchema> = {
        version: 1,
        sizeBytes: this.#file.sizeBytes,
        hash: this.#file.digest.hex,
        done: done.map(({ start, end }) => [start, end]),
      };
      await this.#disk.writeTextAtomically(this.#path + stateSuffix, JSON.stringify(state));
      this.#savedAtMs = this.#clock.monotonic();
    } finally {
      this.#isSaving = false;
    }
  }

  /** Forgets what is there: it did not hash to what it should. */
  async reset(): Promise<void> {
    this.#done = [];
    await this.#out.truncate(0);
    await this.save();
  }

  /** Makes the partial file the file itself. */
  async finish(): Promise<void> {
    await this.#out.truncate(this.#file.sizeBytes);
    await this.#out.sync();
    await this.#disk.rename(this.path, this.#path);
    await this.#removeRemains();
  }

  /** Deletes the state, and half-written ones that a kill has left. */
  async #removeRemains(): Promise<void> {
    const folder = dirname(this.#path);
    const prefix = basename(this.path);
    for (const name of await this.#disk.list(folder)) {
      if (name.startsWith(prefix)) await this.#disk.remove(join(folder, name));
    }
  }

  close(): Promise<void> {
    return this.#out.close();
  }
}
