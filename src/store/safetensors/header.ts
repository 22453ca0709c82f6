import { z } from 'zod';
import { limits } from '../../base/limits.ts';
import { plainFormats } from '../../model/manifest.ts';
import type { OpenFile } from '../../ports/disk.ts';
import { brokenFile, unsupportedModel } from '../model-file-error.ts';
import { findDuplicateKey } from './duplicate-keys.ts';

type PlainFormat = (typeof plainFormats)[number];

/** One tensor of a safetensors file. */
export interface SafetensorsTensor {
  readonly name: string;
  readonly format: PlainFormat;
  /** Outermost dimension first. */
  readonly shape: number[];
  /** Absolute byte offset in the file. */
  readonly offset: number;
  readonly byteLength: number;
}

const elementBytes: Record<PlainFormat, number> = {
  F64: 8,
  F32: 4,
  F16: 2,
  BF16: 2,
  I64: 8,
  I32: 4,
  I16: 2,
  I8: 1,
  U64: 8,
  U32: 4,
  U16: 2,
  U8: 1,
  BOOL: 1,
  F8_E4M3: 1,
  F8_E5M2: 1,
  F8_E8M0: 1,
};

/** Types of the format that no model of ours is made of: sound files, but not for us. */
const foreignTypes = new Set(['C64', 'F4', 'F6_E2M3', 'F6_E3M2', 'F8_E4M3FNUZ', 'F8_E5M2FNUZ']);

const lengthFieldBytes = 8;

const naturalSchema = z.int().nonnegative();
const entrySchema = z.object({
  dtype: z.string(),
  shape: z.array(naturalSchema),
  data_offsets: z.tuple([naturalSchema, naturalSchema]),
});
const metadataSchema = z.record(z.string(), z.string()).nullable();

/**
 * The tensors of a safetensors file in the order of their bytes, read from its header alone.
 *
 * The header may name them in any order and may hold `"__metadata__": null` (as MLX writes).
 * Everything else is strict, after the format's own rules: tensors lie one behind the other from
 * the end of the header to the end of the file, without a hole or an overlap, and each is as long
 * as its shape and type say.
 *
 * @throws CideryError `model_file_broken` with the reason, or `model_unsupported` for an element
 * type of the format that cidery does not read.
 */
export async function readSafetensorsHeader(
  file: OpenFile,
  fileName: string,
): Promise<SafetensorsTensor[]> {
  const text = await readHeaderText(file, fileName);
  const entries = parseHeaderText(text, fileName);
  const dataOffset = lengthFieldBytes + Buffer.byteLength(text, 'utf8');
  const tensors: SafetensorsTensor[] = [];
  for (const [name, value] of Object.entries(entries)) {
    if (name === '__metadata__') {
      if (!metadataSchema.safeParse(value).success) {
        throw brokenFile(fileName, 'its __metadata__ is not a table of strings');
      }
      continue;
    }
    tensors.push(parseEntry(name, value, dataOffset, fileName));
  }
  tensors.sort((a, b) => a.offset - b.offset || a.byteLength - b.byteLength);
  checkLayout(tensors, dataOffset, file.sizeBytes, fileName);
  return tensors;
}

async function readHeaderText(file: OpenFile, fileName: string): Promise<string> {
  const lengthField = await readExactly(file, 0, lengthFieldBytes, fileName);
  const view = new DataView(lengthField.buffer, lengthField.byteOffset, lengthFieldBytes);
  const headerBytes = view.getBigUint64(0, true);
  const available = file.sizeBytes - lengthFieldBytes;
  if (headerBytes > BigInt(limits.safetensorsHeaderMaxBytes)) {
    throw brokenFile(fileName, `it claims a header of ${headerBytes} bytes`);
  }
  if (headerBytes > BigInt(available)) {
    throw brokenFile(
      fileName,
      `it claims a header of ${headerBytes} bytes but has only ${available} after its length field`,
    );
  }
  const bytes = await readExactly(file, lengthFieldBytes, Number(headerBytes), fileName);
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (error) {
    throw brokenFile(fileName, 'its header is not UTF-8 text', error);
  }
}

async function readExactly(
  file: OpenFile,
  offset: number,
  length: number,
  fileName: string,
): Promise<Uint8Array> {
  const bytes = length === 0 ? new Uint8Array(0) : await file.read(offset, length);
  if (bytes.length < length) {
    throw brokenFile(
      fileName,
      `it ends after ${offset + bytes.length} bytes, in the middle of its header`,
    );
  }
  return bytes;
}

function parseHeaderText(text: string, fileName: string): object {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch (error) {
    throw brokenFile(fileName, 'its header is not JSON', error);
  }
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) {
    throw brokenFile(fileName, 'its header is not a JSON object');
  }
  const duplicate = findDuplicateKey(text);
  if (duplicate !== null) throw brokenFile(fileName, `its header names "${duplicate}" twice`);
  return parsed;
}

function parseEntry(
  name: string,
  value: unknown,
  dataOffset: number,
  fileName: string,
): SafetensorsTensor {
  const entry = entrySchema.safeParse(value);
  if (!entry.success) {
    const reason = z.prettifyError(entry.error).replaceAll('\n', ' ');
    throw brokenFile(fileName, `tensor "${name}" is described wrongly (${reason})`);
  }
  const { dtype, shape, data_offsets: range } = entry.data;
  const format = plainFormats.find((known) => known === dtype);
  if (format === undefined) {
    if (foreignTypes.has(dtype)) {
      throw unsupportedModel(`${fileName} holds tensor "${name}" as ${dtype}, which cannot be run`);
    }
    throw brokenFile(fileName, `tensor "${name}" has the unknown type "${dtype}"`);
  }
  const byteLength = range[1] - range[0];
  if (byteLength < 0) throw brokenFile(fileName, `tensor "${name}" ends before it begins`);
  const expected = shape.reduce((product, size) => product * size, elementBytes[format]);
  if (!Number.isSafeInteger(expected)) {
    throw brokenFile(fileName, `tensor "${name}" has the impossible shape [${shape.join(', ')}]`);
  }
  if (byteLength !== expected) {
    throw brokenFile(
      fileName,
      `tensor "${name}" takes ${byteLength} bytes, but [${shape.join(', ')}] in ${format} ` +
        `takes ${expected}`,
    );
  }
  return { name, format, shape, offset: dataOffset + range[0], byteLength };
}

/** Tensors, sorted by offset, must fill the file from `dataOffset` to its end. */
function checkLayout(
  tensors: readonly SafetensorsTensor[],
  dataOffset: number,
  fileBytes: number,
  fileName: string,
): void {
  let end = dataOffset;
  let previous = 'the header';
  for (const tensor of tensors) {
    const what = `tensor "${tensor.name}"`;
    if (tensor.offset < end) throw brokenFile(fileName, `${what} overlaps ${previous}`);
    if (tensor.offset > end) {
      throw brokenFile(
        fileName,
        `${tensor.offset - end} bytes between ${previous} and ${what} belong to nothing`,
      );
    }
    end += tensor.byteLength;
    previous = what;
  }
  if (end > fileBytes) {
    throw brokenFile(fileName, `it is cut short: ${fileBytes} of ${end} bytes are there`);
  }
  if (end < fileBytes) {
    throw brokenFile(fileName, `${fileBytes - end} bytes behind ${previous} belong to nothing`);
  }
}
