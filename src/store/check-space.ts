import { CideryError } from '../base/error.ts';
import { limits } from '../base/limits.ts';
import type { Disk } from '../ports/disk.ts';

/** What a pull is about to write. */
export interface NeededSpace {
  /** Of the model, without what is there already. */
  readonly modelBytes: number;
  /** For a while, until the model is whole. */
  readonly unpackingBytes: number;
}

/**
 * Throws `disk_full_before` where a disk is too small for a model and what has to stay free, and
 * says what of it is which.
 *
 * @param setting the one that names the folder
 */
export async function checkSpace(
  disk: Disk,
  { folder, setting }: { readonly folder: string; readonly setting: string },
  model: string,
  { modelBytes, unpackingBytes }: NeededSpace,
): Promise<void> {
  const freeBytes = await disk.freeBytes(folder);
  if (freeBytes >= modelBytes + unpackingBytes + limits.diskReserveBytes) return;
  // Rounded first, so that the parts come to the sum.
  const megabytes = (bytes: number) => Math.ceil(bytes / 1e6);
  const [fetched, unpacking] = [megabytes(modelBytes), megabytes(unpackingBytes)];
  const kept = megabytes(limits.diskReserveBytes);
  const parts = [
    `${fetched} MB for the model`,
    ...(unpacking === 0 ? [] : [`${unpacking} MB to unpack it`]),
    `${kept} MB that stay free`,
  ];
  throw new CideryError(
    'disk_full_before',
    `${model} needs ${fetched + unpacking + kept} MB in ${folder} (${parts.join(', ')}), ` +
      `where ${Math.floor(freeBytes / 1e6)} MB are free`,
    { hint: `free some space, or set ${setting} to a folder on a larger disk` },
  );
}
