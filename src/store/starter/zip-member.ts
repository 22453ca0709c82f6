import { crc32, createInflateRaw } from 'node:zlib';
import { pipeline } from 'node:stream/promises';
import { PassThrough, Readable } from 'node:stream';
import { CideryError, errorMessage, invariant } from '../../base/error.ts';
import { limits } from '../../base/limits.ts';
import type { OpenFile } from '../../ports/disk.ts';

/**
 * Reads one member of a zip archive as a stream (PKWARE's APPNOTE 4.3: end record, central
 * directory, local header). Only what wheels use: stored and deflated members, no encryption, no
 * zip64.
 */
export interface ZipMember {
  readonly name: string;
  readonly method: 'stored' | 'deflated';
  readonly crc32: number;
  readonly compressedBytes: number;
  readonly sizeBytes: number;
  readonly localHeaderOffset: number;
}

const endRecordBytes = 22;
const commentMaxBytes = 65_535;
const directoryHeaderBytes = 46;
const localHeaderBytes = 30;

function broken(what: string, cause?: unknown): CideryError {
  return new CideryError('archive_broken', `the package is damaged: ${what}`, {
    hint: 'fetch it again',
    cause,
  });
}

async function readView(file: OpenFile, offset: number, length: number): Promise<DataView> {
  const bytes = await file.read(offset, length);
  if (bytes.length !== length) throw broken('it ends too early');
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Where the central directory lies: from the end record, which is looked for from the end. */
async function findDirectory(file: OpenFile): Promise<{ offset: number; length: number }> {
  const tailBytes = Math.min(file.sizeBytes, endRecordBytes + commentMaxBytes);
  const start = file.sizeBytes - tailBytes;
  const tail = await readView(file, start, tailBytes);
  for (let at = tailBytes - endRecordBytes; at >= 0; at--) {
    if (tail.getUint32(at, true) !== 0x06054b50) continue;
    const length = tail.getUint32(at + 12, true);
    const offset = tail.getUint32(at + 16, true);
    if (length > limits.zipDirectoryMaxBytes) throw broken('its directory is too large');
    if (offset + length > start + at) throw broken('its directory lies outside of it');
    return { offset, length };
  }
  throw broken('it is no zip archive');
}

function parseMember(directory: DataView, at: number, name: string): ZipMember {
  const flags = directory.getUint16(at + 8, true);
  const method = directory.getUint16(at + 10, true);
  const compressedBytes = directory.getUint32(at + 20, true);
  const sizeBytes = directory.getUint32(at + 24, true);
  if ((flags & 1) !== 0) throw broken(`${name} is encrypted`);
  if (method !== 0 && method !== 8) throw broken(`${name} is packed by method ${method}`);
  if (compressedBytes === 0xffffffff || sizeBytes === 0xffffffff) {
    throw broken(`${name} is too large for this reader`);
  }
  return {
    name,
    method: method === 0 ? 'stored' : 'deflated',
    crc32: directory.getUint32(at + 16, true),
    compressedBytes,
    sizeBytes,
    localHeaderOffset: directory.getUint32(at + 42, true),
  };
}

/** Finds a member by its exact name. Errors: `archive_broken`, also when there is none. */
export async function findZipMember(file: OpenFile, name: string): Promise<ZipMember> {
  const { offset, length } = await findDirectory(file);
  const directory = await readView(file, offset, length);
  for (let at = 0; at + directoryHeaderBytes <= length; ) {
    if (directory.getUint32(at, true) !== 0x02014b50) throw broken('its directory is garbled');
    const nameBytes = directory.getUint16(at + 28, true);
    const end = at + directoryHeaderBytes + nameBytes;
    if (end > length) throw broken('its directory is garbled');
    const start = directory.byteOffset + at + directoryHeaderBytes;
    const entry = new TextDecoder().decode(new Uint8Array(directory.buffer, start, nameBytes));
    if (entry === name) return parseMember(directory, at, name);
    at = end + directory.getUint16(at + 30, true) + directory.getUint16(at + 32, true);
  }
  throw broken(`it has no ${name}`);
}

async function* rawBytes(
  file: OpenFile,
  start: number,
  length: number,
): AsyncGenerator<Uint8Array> {
  for (let done = 0; done < length; ) {
    const bytes = await file.read(start + done, Math.min(limits.storeReadBytes, length - done));
    if (bytes.length === 0) throw broken('it ends too early');
    done += bytes.length;
    yield bytes;
  }
}

/** The unpacked chunks of a deflated stream. */
async function* inflate(packed: AsyncGenerator<Uint8Array>): AsyncGenerator<Uint8Array> {
  const output = new PassThrough();
  const done = pipeline(Readable.from(packed), createInflateRaw(), output);
  // The loop below sees the same failure; this keeps it from counting as nobody's.
  done.catch(() => undefined);
  try {
    for await (const chunk of output) {
      invariant(chunk instanceof Uint8Array, 'zlib gave something else than bytes');
      yield chunk;
    }
    await done;
  } catch (error) {
    throw error instanceof CideryError ? error : broken(errorMessage(error), error);
  } finally {
    output.destroy();
  }
}

/**
 * The member's unpacked bytes in chunks; never more than the directory says, and the last chunk
 * only comes when length and CRC are right.
 * Errors: `archive_broken`, the disk's.
 */
export async function* readZipMember(
  file: OpenFile,
  member: ZipMember,
): AsyncGenerator<Uint8Array, void, void> {
  const header = await readView(file, member.localHeaderOffset, localHeaderBytes);
  if (header.getUint32(0, true) !== 0x04034b50)
    throw broken(`${member.name} is not where it should be`);
  const skipped = header.getUint16(26, true) + header.getUint16(28, true);
  const start = member.localHeaderOffset + localHeaderBytes + skipped;
  const packed = rawBytes(file, start, member.compressedBytes);
  let sum = 0;
  let total = 0;
  for await (const chunk of member.method === 'stored' ? packed : inflate(packed)) {
    total += chunk.length;
    if (total > member.sizeBytes) throw broken(`${member.name} is longer than it says`);
    sum = crc32(chunk, sum);
    if (total === member.sizeBytes && sum !== member.crc32)
      throw broken(`${member.name} fails its CRC`);
    yield chunk;
  }
  if (total !== member.sizeBytes) throw broken(`${member.name} is shorter than it says`);
}
