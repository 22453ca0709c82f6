import { limits } from '../../base/limits.ts';
import type { OpenFile } from '../../ports/disk.ts';
import { brokenFile, unsupportedModel } from '../model-file-error.ts';
import { GgufCursor } from './cursor.ts';
import { type GgmlType, ggmlTypes } from './ggml-types.ts';
import { type GgufValue, readGgufValue } from './values.ts';

export interface GgufTensor {
  readonly name: string;
  readonly type: GgmlType;
  /** Outermost dimension first (the file holds them innermost first). */
  readonly shape: number[];
  /** Absolute byte offset in the file. */
  readonly offset: number;
  readonly byteLength: number;
}

export interface GgufHeader {
  readonly version: number;
  readonly metadata: ReadonlyMap<string, GgufValue>;
  /** In the order of the file's list. */
  readonly tensors: GgufTensor[];
}

const magic = 0x46554747;
const defaultAlignment = 32;
/** Key of one byte, type, value of one byte. */
const smallestValueBytes = 8 + 1 + 4 + 1;
/** Name of one byte, dimension count, one dimension, type, offset. */
const smallestTensorBytes = 8 + 1 + 4 + 8 + 4 + 8;
const maxDimensions = 4;

/** A tensor as the list names it, before its place in the file is known. */
interface ListedTensor extends Omit<GgufTensor, 'offset'> {
  readonly relativeOffset: number;
}

/**
 * Reads metadata and tensor list of a GGUF file (versions 2 and 3, little-endian; gguf.md of
 * ggml) in bounded pieces, without a byte of the tensors. Everything that the header claims is
 * checked against the size of the file before memory is made for it: counts, lengths, types,
 * shapes, offsets, overlaps.
 *
 * @throws CideryError `model_file_broken` with the reason; `model_unsupported` for versions and
 * tensor types that are not known here.
 */
export async function readGgufHeader(file: OpenFile, fileName: string): Promise<GgufHeader> {
  const cursor = new GgufCursor(file, fileName);
  await cursor.ready(24, 'the GGUF header');
  if (cursor.takeU32() !== magic) throw brokenFile(fileName, 'it is not a GGUF file');
  const version = cursor.takeU32();
  checkVersion(version, fileName);
  const tensorCount = cursor.takeU64();
  const valueCount = cursor.takeU64();
  checkCounts(cursor, tensorCount, valueCount, fileName);

  const metadata = new Map<string, GgufValue>();
  for (let index = 0; index < valueCount; index += 1) {
    const key = await readName(cursor, `the name of value ${index}`, fileName);
    if (metadata.has(key)) throw brokenFile(fileName, `it holds the value "${key}" twice`);
    await cursor.ready(4, `the type of "${key}"`);
    metadata.set(key, await readGgufValue(cursor, cursor.takeU32(), key, fileName));
  }
  const alignment = readAlignment(metadata, fileName);

  const listed: ListedTensor[] = [];
  const names = new Set<string>();
  for (let index = 0; index < tensorCount; index += 1) {
    const tensor = await readTensor(cursor, index, alignment, fileName);
    if (names.has(tensor.name)) {
      throw brokenFile(fileName, `it holds the tensor "${tensor.name}" twice`);
    }
    names.add(tensor.name);
    listed.push(tensor);
  }
  const dataOffset = Math.ceil(cursor.position / alignment) * alignment;
  return { version, metadata, tensors: place(listed, dataOffset, file.sizeBytes, fileName) };
}

function checkVersion(version: number, fileName: string): void {
  if (version === 2 || version === 3) return;
  if (version === 0x02000000 || version === 0x03000000) {
    throw unsupportedModel(`${fileName} is a big-endian GGUF file`);
  }
  if (version === 1) {
    throw unsupportedModel(
      `${fileName} is a GGUF file of version 1`,
      'convert the model again with a current llama.cpp',
    );
  }
  throw brokenFile(fileName, `it claims to be GGUF of version ${version}`);
}

function checkCounts(
  cursor: GgufCursor,
  tensorCount: number,
  valueCount: number,
  fileName: string,
): void {
  const needed = tensorCount * smallestTensorBytes + valueCount * smallestValueBytes;
  if (needed <= cursor.remaining) return;
  throw brokenFile(
    fileName,
    `it claims ${tensorCount} tensors and ${valueCount} values in ${cursor.remaining} bytes`,
  );
}

async function readName(cursor: GgufCursor, what: string, fileName: string): Promise<string> {
  await cursor.ready(8, what);
  const length = cursor.takeU64();
  if (length === 0) throw brokenFile(fileName, `${what} is empty`);
  if (length > limits.ggufNameMaxBytes) {
    throw brokenFile(fileName, `${what} is ${length} bytes long`);
  }
  await cursor.ready(length, what);
  return cursor.takeText(length);
}

function readAlignment(metadata: ReadonlyMap<string, GgufValue>, fileName: string): number {
  const alignment = metadata.get('general.alignment') ?? defaultAlignment;
  const isPowerOfTwo =
    typeof alignment === 'number' &&
    Number.isInteger(alignment) &&
    alignment >= 1 &&
    alignment <= 2 ** 30 &&
    (alignment & (alignment - 1)) === 0;
  if (isPowerOfTwo) return alignment;
  throw brokenFile(fileName, 'its alignment is not a power of two');
}

async function readTensor(
  cursor: GgufCursor,
  index: number,
  alignment: number,
  fileName: string,
): Promise<ListedTensor> {
  const name = await readName(cursor, `the name of tensor ${index}`, fileName);
  const what = `the description of tensor "${name}"`;
  await cursor.ready(4, what);
  const dimensions = cursor.takeU32();
  if (dimensions < 1 || dimensions > maxDimensions) {
    throw brokenFile(fileName, `tensor "${name}" has ${dimensions} dimensions`);
  }
  await cursor.ready(dimensions * 8 + 12, what);
  const shape: number[] = [];
  for (let axis = 0; axis < dimensions; axis += 1) shape.unshift(cursor.takeU64());
  const typeId = cursor.takeU32();
  const relativeOffset = cursor.takeU64();
  const type = ggmlTypes.get(typeId);
  if (type === undefined) {
    throw unsupportedModel(
      `${fileName} holds tensor "${name}" in a type that cidery does not know (number ${typeId})`,
      'choose another quantization of the model, such as Q4_K_M or Q8_0',
    );
  }
  if (!Number.isSafeInteger(relativeOffset) || relativeOffset % alignment !== 0) {
    throw brokenFile(fileName, `tensor "${name}" lies at the unaligned offset ${relativeOffset}`);
  }
  return {
    name,
    type,
    shape,
    relativeOffset,
    byteLength: tensorBytes(name, type, shape, fileName),
  };
}

/** Bytes of a tensor; every row is a whole number of blocks. */
function tensorBytes(name: string, type: GgmlType, shape: number[], fileName: string): number {
  const rowLength = shape.at(-1) ?? 0;
  const elements = shape.reduce((product, size) => product * size, 1);
  if (elements === 0 || !Number.isSafeInteger(elements * type.blockBytes)) {
    throw brokenFile(fileName, `tensor "${name}" has the impossible shape [${shape.join(', ')}]`);
  }
  if (rowLength % type.blockSize !== 0) {
    throw brokenFile(
      fileName,
      `rows of ${rowLength} in tensor "${name}" are not whole blocks of ${type.name} ` +
        `(${type.blockSize} values)`,
    );
  }
  return (elements / type.blockSize) * type.blockBytes;
}

/**
 * Gives each tensor its absolute offset, and refuses tensors that overlap or lie beyond the file.
 */
function place(
  listed: readonly ListedTensor[],
  dataOffset: number,
  fileBytes: number,
  fileName: string,
): GgufTensor[] {
  const tensors = listed.map(({ relativeOffset, ...tensor }) => ({
    ...tensor,
    offset: dataOffset + relativeOffset,
  }));
  let end = dataOffset;
  let previous = '';
  for (const tensor of tensors.toSorted((a, b) => a.offset - b.offset)) {
    if (tensor.offset < end) {
      throw brokenFile(fileName, `tensor "${tensor.name}" overlaps "${previous}"`);
    }
    end = tensor.offset + tensor.byteLength;
    previous = tensor.name;
    if (end > fileBytes) {
      throw brokenFile(
        fileName,
        `it is cut short: tensor "${tensor.name}" ends at byte ${end} of ${fileBytes}`,
      );
    }
  }
  return tensors;
}
