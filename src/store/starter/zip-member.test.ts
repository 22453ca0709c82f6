import fc from 'fast-check';
import { expect, test } from 'vitest';
import { MemoryFile } from '../../../test/support/memory-disk.ts';
import { randomBytes } from '../../../test/support/random-bytes.ts';
import { type ZipEntry, zip } from '../../../test/support/zip-writer.ts';
import { findZipMember, readZipMember } from './zip-member.ts';

async function unpack(archive: Uint8Array, name: string): Promise<Buffer> {
  const file = new MemoryFile(archive);
  const chunks: Uint8Array[] = [];
  for await (const chunk of readZipMember(file, await findZipMember(file, name)))
    chunks.push(chunk);
  return Buffer.concat(chunks);
}

const content = Buffer.concat([Buffer.alloc(2_000_000, 'cidery'), randomBytes(1_500_000, 9)]);
const entries: readonly ZipEntry[] = [
  { name: 'a/first.txt', bytes: Buffer.from('first') },
  { name: 'a/model.gguf', bytes: content },
  { name: 'a/stored.bin', bytes: content, stored: true },
  { name: 'a/empty', bytes: new Uint8Array(0) },
];

test.each(['a/model.gguf', 'a/stored.bin'])('%s comes out as it went in', async (name) => {
  expect((await unpack(zip(entries, 'a comment'), name)).equals(content)).toBe(true);
});

test('an empty member is empty', async () => {
  expect((await unpack(zip(entries), 'a/empty')).length).toBe(0);
});

test.each<[string, Uint8Array, string]>([
  ['no archive', Buffer.from('hello'), 'a'],
  ['an empty file', new Uint8Array(0), 'a'],
  ['no such member', zip(entries), 'a/MODEL.gguf'],
  ['a wrong CRC', zip([{ name: 'a', bytes: content, claimed: { crc: 1 } }]), 'a'],
  [
    'a size that is too small',
    zip([{ name: 'a', bytes: content, claimed: { sizeBytes: 9 } }]),
    'a',
  ],
  [
    'a size that is too large',
    zip([{ name: 'a', bytes: content, claimed: { sizeBytes: 9e6 } }]),
    'a',
  ],
  ['an encrypted member', zip([{ name: 'a', bytes: content, claimed: { flags: 1 } }]), 'a'],
  ['a cut archive', zip(entries).subarray(0, 900_000), 'a/model.gguf'],
])('%s is refused', async (_name, archive, name) => {
  await expect(unpack(archive, name)).rejects.toMatchObject({ code: 'archive_broken' });
});

test('garbled archives are refused or give the right bytes, and never anything else', async () => {
  const good = zip([
    { name: 'a', bytes: Buffer.from('some bytes that are packed, packed, packed') },
  ]);
  await fc.assert(
    fc.asyncProperty(
      fc.nat(good.length - 1),
      fc.integer({ min: 1, max: 255 }),
      async (at, flip) => {
        const bad = Buffer.from(good);
        bad[at] = (bad[at] ?? 0) ^ flip;
        const result = await unpack(bad, 'a').catch((error: unknown) => error);
        const isRight = Buffer.isBuffer(result) && result.toString().startsWith('some bytes');
        if (!isRight) expect(result).toMatchObject({ code: 'archive_broken' });
      },
    ),
    { numRuns: 500 },
  );
});
