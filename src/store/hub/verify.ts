import { createHash } from 'node:crypto';
import { limits } from '../../base/limits.ts';
import type { Disk } from '../../ports/disk.ts';
import type { Digest } from './listing.ts';

/**
 * Hashes a file as the hub does: SHA-256 of its bytes, or git's SHA-1 of `blob SIZE NUL bytes`.
 * Resolves to hexadecimal digits.
 */
export async function hashFile(
  disk: Disk,
  path: string,
  algorithm: Digest['algorithm'],
  signal: AbortSignal,
): Promise<string> {
  const file = await disk.open(path);
  try {
    const hash = createHash(algorithm === 'sha256' ? 'sha256' : 'sha1');
    if (algorithm === 'gitSha1') hash.update(`blob ${file.sizeBytes}\0`);
    for (let offset = 0; offset < file.sizeBytes; ) {
      signal.throwIfAborted();
      const bytes = await file.read(offset, limits.storeReadBytes);
      if (bytes.length === 0) break;
      hash.update(bytes);
      offset += bytes.length;
    }
    return hash.digest('hex');
  } finally {
    await file.close();
  }
}
