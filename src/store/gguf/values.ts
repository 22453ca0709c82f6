import { brokenFile } from '../model-file-error.ts';
import type { GgufCursor } from './cursor.ts';

/** An array of a GGUF file's metadata. */
export type GgufArray =
  | { readonly kind: 'strings'; readonly values: readonly string[] }
  | { readonly kind: 'numbers'; readonly values: ArrayLike<number> }
  | { readonly kind: 'booleans'; readonly values: readonly boolean[] };

/** A value of a GGUF file's metadata; a 64-bit integer past 2^53 is a bigint. */
export type GgufValue = string | number | bigint | boolean | GgufArray;

const stringType = 8;
const booleanType = 7;
const arrayType = 9;

interface NumberType {
  readonly bytes: number;
  read(view: DataView, offset: number): number | bigint;
  /** An array for that many values which is as large as they are in the file. */
  makeArray(length: number): Writable;
}

interface Writable extends ArrayLike<number> {
  [index: number]: number;
}

/** Number types by their id (gguf.md of ggml, "gguf_metadata_value_type"). */
const numberTypes: ReadonlyMap<number, NumberType> = new Map<number, NumberType>([
  [0, { bytes: 1, read: (view, at) => view.getUint8(at), makeArray: (n) => new Uint8Array(n) }],
  [1, { bytes: 1, read: (view, at) => view.getInt8(at), makeArray: (n) => new Int8Array(n) }],
  [2, { bytes: 2, read: readU16, makeArray: (n) => new Uint16Array(n) }],
  [3, { bytes: 2, read: readI16, makeArray: (n) => new Int16Array(n) }],
  [4, { bytes: 4, read: readU32, makeArray: (n) => new Uint32Array(n) }],
  [5, { bytes: 4, read: readI32, makeArray: (n) => new Int32Array(n) }],
  [6, { bytes: 4, read: readF32, makeArray: (n) => new Float32Array(n) }],
  [10, { bytes: 8, read: readU64, makeArray: (n) => new Float64Array(n) }],
  [11, { bytes: 8, read: readI64, makeArray: (n) => new Float64Array(n) }],
  [12, { bytes: 8, read: readF64, makeArray: (n) => new Float64Array(n) }],
]);

function readU16(view: DataView, offset: number): number {
  return view.getUint16(offset, true);
}
function readI16(view: DataView, offset: number): number {
  return view.getInt16(offset, true);
}
function readU32(view: DataView, offset: number): number {
  return view.getUint32(offset, true);
}
function readI32(view: DataView, offset: number): number {
  return view.getInt32(offset, true);
}
function readF32(view: DataView, offset: number): number {
  return view.getFloat32(offset, true);
}
function readF64(view: DataView, offset: number): number {
  return view.getFloat64(offset, true);
}
function readU64(view: DataView, offset: number): number | bigint {
  return narrow(view.getBigUint64(offset, true));
}
function readI64(view: DataView, offset: number): number | bigint {
  return narrow(view.getBigInt64(offset, true));
}

function narrow(value: bigint): number | bigint {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}

/** Reads one value of the type; `key` is for messages. */
export async function readGgufValue(
  cursor: GgufCursor,
  type: number,
  key: string,
  fileName: string,
): Promise<GgufValue> {
  const what = `the value of "${key}"`;
  if (type === stringType) {
    await cursor.ready(8, what);
    const length = cursor.takeU64();
    await cursor.ready(length, what);
    return cursor.takeText(length);
  }
  if (type === booleanType) {
    await cursor.ready(1, what);
    return readBoolean(cursor, key, fileName);
  }
  if (type === arrayType) return readArray(cursor, key, fileName);
  const number = numberTypes.get(type);
  if (number === undefined) throw brokenFile(fileName, `"${key}" has the unknown type ${type}`);
  await cursor.ready(number.bytes, what);
  return number.read(viewOf(cursor.take(number.bytes)), 0);
}

async function readArray(cursor: GgufCursor, key: string, fileName: string): Promise<GgufArray> {
  const what = `the array "${key}"`;
  await cursor.ready(12, what);
  const type = cursor.takeU32();
  const count = cursor.takeU64();
  if (type === stringType) return readStrings(cursor, count, key, fileName);
  if (type === arrayType) throw brokenFile(fileName, `"${key}" is an array of arrays`);
  const number = type === booleanType ? { bytes: 1 } : numberTypes.get(type);
  if (number === undefined) {
    throw brokenFile(fileName, `"${key}" is an array of the unknown type ${type}`);
  }
  checkCount(cursor, count, number.bytes, what, fileName);
  await cursor.ready(count * number.bytes, what);
  if (!('read' in number)) {
    return {
      kind: 'booleans',
      values: Array.from({ length: count }, () => readBoolean(cursor, key, fileName)),
    };
  }
  const view = viewOf(cursor.take(count * number.bytes));
  const values = number.makeArray(count);
  for (let index = 0; index < count; index += 1) {
    values[index] = Number(number.read(view, index * number.bytes));
  }
  return { kind: 'numbers', values };
}

async function readStrings(
  cursor: GgufCursor,
  count: number,
  key: string,
  fileName: string,
): Promise<GgufArray> {
  const what = `the array "${key}"`;
  checkCount(cursor, count, 8, what, fileName);
  const values: string[] = [];
  for (let index = 0; index < count; index += 1) {
    if (!cursor.has(8)) await cursor.fill(8, what);
    const length = cursor.takeU64();
    if (!cursor.has(length)) await cursor.fill(length, what);
    values.push(cursor.takeText(length));
  }
  return { kind: 'strings', values };
}

/**
 * A count whose elements cannot be in the rest of the file is refused before anything is made for
 * them.
 */
function checkCount(
  cursor: GgufCursor,
  count: number,
  elementBytes: number,
  what: string,
  fileName: string,
): void {
  if (count * elementBytes <= cursor.remaining) return;
  throw brokenFile(
    fileName,
    `${what} claims ${count} elements, but only ${cursor.remaining} bytes of the file are left`,
  );
}

function readBoolean(cursor: GgufCursor, key: string, fileName: string): boolean {
  const byte = cursor.take(1)[0];
  if (byte !== 0 && byte !== 1) throw brokenFile(fileName, `"${key}" is neither true nor false`);
  return byte === 1;
}

function viewOf(bytes: Buffer): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
