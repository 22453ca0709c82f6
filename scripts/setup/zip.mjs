import { mkdir, open, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { crc32, inflateRaw } from 'node:zlib';

const inflate = promisify(inflateRaw);

const endSignature = 0x06054b50;
const endBytes = 22;
const entrySignature = 0x02014b50;
const entryBytes = 46;
const localSignature = 0x04034b50;
const localBytes = 30;
const commentMaxBytes = 0xffff;
const directoryMaxBytes = 64 * 1024 * 1024;
/** The largest wheel in use unpacks to 350 MB. */
const unpackedMaxBytes = 1024 * 1024 * 1024;

/** A zip file that is damaged, or that asks for what no honest wheel asks for. */
export class ZipError extends Error {
  /** @param {string} message */
  constructor(message) {
    super(`not a sound zip file: ${message}`);
    this.name = 'ZipError';
  }
}

/**
 * @typedef {object} ZipEntry
 * @property {string} name
 * @property {number} method 0 stored, 8 deflated
 * @property {number} crc CRC-32 of the unpacked bytes
 * @property {number} packedBytes
 * @property {number} sizeBytes
 * @property {number} offset of the local header
 * @property {boolean} executable
 *
 * @typedef {import('node:fs/promises').FileHandle} FileHandle
 * @typedef {{ path: string, sizeBytes: number, crc: number }} UnpackedFile
 */

/**
 * Unpacks a zip file (PKWARE APPNOTE 6.3.10, without zip64, encryption and links) into a folder.
 * Everything is checked before the first byte is written, except each file's own size and CRC.
 * @param {string} path
 * @param {string} folder must exist; nothing is written outside of it
 * @param {{ signal?: AbortSignal, onBytes?: (done: number, total: number) => void }} [options]
 * @returns {Promise<UnpackedFile[]>} what was written
 */
export async function unpackZip(path, folder, options = {}) {
  const file = await open(path);
  try {
    const { size } = await file.stat();
    const entries = await readDirectory(file, size);
    checkEntries(entries, size);
    const total = entries.reduce((sum, entry) => sum + entry.sizeBytes, 0);
    const folders = new Set();
    const unpacked = [];
    let done = 0;
    for (const entry of entries) {
      options.signal?.throwIfAborted();
      const bytes = await readEntry(file, size, entry);
      const target = join(folder, entry.name);
      if (!folders.has(dirname(target))) await mkdir(dirname(target), { recursive: true });
      folders.add(dirname(target));
      await writeFile(target, bytes, { flag: 'wx', mode: entry.executable ? 0o755 : 0o644 });
      unpacked.push({ path: entry.name, sizeBytes: bytes.length, crc: entry.crc });
      done += bytes.length;
      options.onBytes?.(done, total);
    }
    return unpacked;
  } finally {
    await file.close();
  }
}

/**
 * The files of the archive as its central directory lists them; folders are left out.
 * @param {FileHandle} file
 * @param {number} size
 * @returns {Promise<ZipEntry[]>}
 */
async function readDirectory(file, size) {
  const tailBytes = Math.min(size, endBytes + commentMaxBytes);
  const tail = await read(file, size, size - tailBytes, tailBytes);
  let at = tailBytes - endBytes;
  while (at >= 0 && !isEnd(tail, at)) at--;
  if (at < 0) throw new ZipError('it has no end (cut off?)');
  const count = tail.readUInt16LE(at + 10);
  const bytes = tail.readUInt32LE(at + 12);
  const offset = tail.readUInt32LE(at + 16);
  if (tail.readUInt16LE(at + 4) !== 0 || tail.readUInt16LE(at + 8) !== count) {
    throw new ZipError('it is one part of several');
  }
  if (count === 0xffff || bytes === 0xffffffff || offset === 0xffffffff) {
    throw new ZipError('zip64 is not supported');
  }
  if (bytes > directoryMaxBytes) throw new ZipError('its directory is too large');
  const directory = await read(file, size, offset, bytes);
  const entries = [];
  let position = 0;
  for (let index = 0; index < count; index++) {
    const { entry, next } = parseEntry(directory, position);
    position = next;
    if (!entry.name.endsWith('/')) entries.push(entry);
    else checkName(entry.name.slice(0, -1));
  }
  return entries;
}

/**
 * @param {Buffer} tail
 * @param {number} at
 */
function isEnd(tail, at) {
  const comment = tail.length - at - endBytes;
  return tail.readUInt32LE(at) === endSignature && tail.readUInt16LE(at + 20) === comment;
}

/**
 * @param {Buffer} directory
 * @param {number} at
 * @returns {{ entry: ZipEntry, next: number }}
 */
function parseEntry(directory, at) {
  if (at + entryBytes > directory.length || directory.readUInt32LE(at) !== entrySignature) {
    throw new ZipError('its directory is damaged');
  }
  const nameBytes = directory.readUInt16LE(at + 28);
  const next =
    at + entryBytes + nameBytes + directory.readUInt16LE(at + 30) + directory.readUInt16LE(at + 32);
  if (next > directory.length) throw new ZipError('its directory is cut off');
  const name = directory.toString('utf8', at + entryBytes, at + entryBytes + nameBytes);
  if ((directory.readUInt16LE(at + 8) & 1) !== 0) throw new ZipError(`${name} is encrypted`);
  const mode = directory.readUInt32LE(at + 38) >>> 16;
  if ((mode & 0o170000) === 0o120000) throw new ZipError(`${name} is a link`);
  const entry = {
    name,
    method: directory.readUInt16LE(at + 10),
    crc: directory.readUInt32LE(at + 16),
    packedBytes: directory.readUInt32LE(at + 20),
    sizeBytes: directory.readUInt32LE(at + 24),
    offset: directory.readUInt32LE(at + 42),
    executable: (mode & 0o100) !== 0,
  };
  return { entry, next };
}

/**
 * @param {readonly ZipEntry[]} entries
 * @param {number} size of the archive
 */
function checkEntries(entries, size) {
  const names = new Set();
  let total = 0;
  for (const { name, method, packedBytes, sizeBytes } of entries) {
    checkName(name);
    // Case folding: on a Mac the second of two such files would overwrite the first.
    if (names.has(name.toLowerCase())) throw new ZipError(`${name} is in it twice`);
    names.add(name.toLowerCase());
    if (method !== 0 && method !== 8) throw new ZipError(`${name}: unknown method ${method}`);
    if (method === 0 && packedBytes !== sizeBytes) throw new ZipError(`${name}: sizes differ`);
    total += sizeBytes;
  }
  for (const { name } of entries) {
    const file = foldersOf(name.toLowerCase()).find((path) => names.has(path));
    if (file !== undefined) throw new ZipError(`${file} is a file and a folder in it`);
  }
  if (total > unpackedMaxBytes) throw new ZipError(`it unpacks to ${total} bytes`);
  const byOffset = [...entries].sort((a, b) => a.offset - b.offset);
  let end = 0;
  for (const { name, offset, packedBytes } of byOffset) {
    if (offset < end) throw new ZipError(`${name} lies over another file`);
    end = offset + localBytes + packedBytes;
  }
  if (end > size) throw new ZipError('its last file is cut off');
}

/**
 * The folders that a file lies in, such as `a` and `a/b` for `a/b/c`.
 * @param {string} name
 */
function foldersOf(name) {
  const parts = name.split('/').slice(0, -1);
  return parts.map((_, index) => parts.slice(0, index + 1).join('/'));
}

/** @param {string} name */
function checkName(name) {
  const parts = name.split('/');
  const bad = parts.some((part) => part === '' || part === '.' || part === '..');
  if (bad || /[\\:\0]|\ufffd/u.test(name)) throw new ZipError(`the name ${JSON.stringify(name)}`);
}

/**
 * @param {FileHandle} file
 * @param {number} size of the archive
 * @param {ZipEntry} entry
 * @returns {Promise<Buffer>} its bytes, of the promised size and CRC
 */
async function readEntry(file, size, entry) {
  const header = await read(file, size, entry.offset, localBytes);
  if (header.readUInt32LE(0) !== localSignature) throw new ZipError(`${entry.name} has no header`);
  const skip = header.readUInt16LE(26) + header.readUInt16LE(28);
  const packed = await read(file, size, entry.offset + localBytes + skip, entry.packedBytes);
  const bytes = entry.method === 0 ? packed : await inflateExactly(packed, entry);
  if (bytes.length !== entry.sizeBytes) throw new ZipError(`${entry.name} has another size`);
  if (crc32(bytes) !== entry.crc) throw new ZipError(`${entry.name} has another checksum`);
  return bytes;
}

/**
 * @param {Buffer} packed
 * @param {ZipEntry} entry
 */
async function inflateExactly(packed, entry) {
  try {
    // One byte more than promised is enough to notice an entry that inflates without end.
    return await inflate(packed, { maxOutputLength: entry.sizeBytes + 1 });
  } catch {
    throw new ZipError(`${entry.name} does not unpack to what it promises`);
  }
}

/**
 * @param {FileHandle} file
 * @param {number} size of the archive
 * @param {number} offset
 * @param {number} length
 */
async function read(file, size, offset, length) {
  if (offset + length > size) throw new ZipError('it is cut off');
  const bytes = Buffer.alloc(length);
  for (let done = 0; done < length; ) {
    const { bytesRead } = await file.read(bytes, done, length - done, offset + done);
    if (bytesRead === 0) throw new ZipError('it became shorter while it was read');
    done += bytesRead;
  }
  return bytes;
}
