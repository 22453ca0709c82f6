import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { unpackZip, ZipError } from '../../scripts/setup/zip.mjs';
import { type ZipPart, zipOf } from './zip-writer.ts';

let folder = '';
let count = 0;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'cidery-zip-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** Unpacks an archive into a fresh folder; returns what it wrote there. */
async function unpack(archive: Buffer): Promise<Record<string, string>> {
  const path = join(folder, 'archive.zip');
  const target = join(folder, `out-${count++}`, 'in');
  writeFileSync(path, archive);
  mkdirSync(target, { recursive: true });
  const files = await unpackZip(path, target);
  return Object.fromEntries(
    files.map((file) => [file.path, readFileSync(join(target, file.path), 'utf8')]),
  );
}

/** Anything but a ZipError is a failure of the test. */
function zipError(error: unknown): ZipError {
  if (error instanceof ZipError) return error;
  throw error;
}

const text = Buffer.from('some text, some text, some text');

describe('unpackZip', () => {
  it('unpacks stored, packed and empty files, folders and modes', async () => {
    const archive = zipOf(
      [
        { name: 'a/', stored: true, mode: 0o40755 },
        { name: 'a/b.txt', content: text },
        { name: 'a/c/d.txt', content: text, stored: true, mode: 0o100755 },
        { name: 'empty' },
      ],
      'a comment',
    );
    expect(await unpack(archive)).toEqual({
      'a/b.txt': text.toString(),
      'a/c/d.txt': text.toString(),
      empty: '',
    });
    const modeOf = (path: string) => statSync(join(folder, `out-${count - 1}/in`, path)).mode;
    expect(modeOf('a/b.txt') & 0o111).toBe(0);
    expect(modeOf('a/c/d.txt') & 0o100).toBe(0o100);
  });

  const hostileNames = [
    ...['../up', 'a/../../up', '/absolute', 'a//b', './a', 'a/.', '..', 'C:a', 'a\\b', 'a\0b', ''],
    '../up/',
  ];
  it.each(hostileNames)('refuses the name %j', async (name) => {
    await expect(unpack(zipOf([{ name, content: text }]))).rejects.toThrow(ZipError);
    expect(readdirSync(join(folder, `out-${count - 1}`))).toEqual(['in']);
    expect(readdirSync(join(folder, `out-${count - 1}/in`))).toEqual([]);
  });

  const lies: [title: string, part: Partial<ZipPart>, message: RegExp][] = [
    ['a link', { mode: 0o120777 }, /is a link/u],
    ['an encrypted file', { flags: 1 }, /is encrypted/u],
    ['an unknown method', { method: 12 }, /unknown method 12/u],
    ['a wrong checksum', { crc: 1 }, /another checksum/u],
    ['a size that is too large', { sizeBytes: text.length + 1 }, /another size/u],
    ['a size that is too small', { sizeBytes: text.length - 2 }, /does not unpack|another size/u],
    ['a stored file of two sizes', { stored: true, sizeBytes: 1 }, /sizes differ/u],
    ['a packed size past the end', { packedBytes: 1_000_000 }, /cut off/u],
    ['an offset past the end', { offset: 1_000_000 }, /cut off/u],
    ['an offset without a header', { offset: 3 }, /no header/u],
    ['two gigabytes', { sizeBytes: 0x7fffffff }, /unpacks to/u],
  ];
  it.each(lies)('refuses %s', async (_, part, message) => {
    await expect(unpack(zipOf([{ name: 'a', content: text, ...part }]))).rejects.toThrow(message);
  });

  it('refuses a bomb without unpacking it', async () => {
    const bomb = { name: 'a', content: Buffer.alloc(8 * 1024 * 1024), sizeBytes: 10 };
    await expect(unpack(zipOf([bomb]))).rejects.toThrow(/does not unpack/u);
  });

  it('refuses files that share bytes, and names that a Mac takes for one', async () => {
    const shared = [
      { name: 'a', content: text },
      { name: 'b', content: text, offset: 0 },
    ];
    await expect(unpack(zipOf(shared))).rejects.toThrow(/lies over/u);
    const twice = [{ name: 'a/B' }, { name: 'A/b' }];
    await expect(unpack(zipOf(twice))).rejects.toThrow(/in it twice/u);
    const both = [{ name: 'x/A' }, { name: 'x/a/b' }];
    await expect(unpack(zipOf(both))).rejects.toThrow(/x\/a is a file and a folder/u);
  });

  it('refuses zip64', async () => {
    const archive = zipOf([{ name: 'a', content: text }]);
    archive.writeUInt32LE(0xffffffff, archive.length - 6);
    await expect(unpack(archive)).rejects.toThrow(/zip64/u);
  });

  it('refuses an archive that is cut anywhere', async () => {
    const archive = zipOf([{ name: 'a', content: text }, { name: 'b' }]);
    for (let length = 0; length < archive.length; length++) {
      await expect(unpack(archive.subarray(0, length))).rejects.toThrow(ZipError);
    }
  });

  it('survives any change of a byte: an error, or files in their folder', async () => {
    const archive = zipOf([
      { name: 'a', content: text },
      { name: 'b/c', content: text, stored: true },
    ]);
    const change = fc.tuple(fc.nat(archive.length - 1), fc.integer({ min: 1, max: 255 }));
    await fc.assert(
      fc.asyncProperty(change, async ([at, mask]) => {
        const broken = Buffer.from(archive);
        broken[at] = (broken[at] ?? 0) ^ mask;
        const outcome = await unpack(broken).catch(zipError);
        if (!(outcome instanceof ZipError))
          expect(Object.values(outcome)).toEqual([text.toString(), text.toString()]);
        expect(readdirSync(join(folder, `out-${count - 1}`))).toEqual(['in']);
      }),
      { numRuns: 300 },
    );
  });
});
