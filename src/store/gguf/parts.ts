import { limits } from '../../base/limits.ts';
import type { Disk } from '../../ports/disk.ts';
import { brokenFile, fileNameOf, incompleteModel } from '../model-file-error.ts';
import { GgufMetadata } from './metadata.ts';
import { type GgufTensor, readGgufHeader } from './reader.ts';

/** One file of a model, with the tensors that are in it. */
export interface GgufPart {
  readonly path: string;
  readonly sizeBytes: number;
  readonly tensors: GgufTensor[];
}

/** A GGUF model: its metadata (of the first part) and all its parts, one for most models. */
export interface GgufModel {
  readonly metadata: GgufMetadata;
  readonly parts: GgufPart[];
}

interface ReadPart extends GgufPart {
  readonly metadata: GgufMetadata;
}

/** Names that llama.cpp's gguf-split gives: PREFIX-00001-of-00003.gguf. */
const partName = /^(?<prefix>.*)-(?<part>\d{5})-of-(?<count>\d{5})\.gguf$/;

/**
 * Reads the headers of a GGUF model. `path` may be any part of one that gguf-split has cut; all
 * of them must lie beside it and agree on how many parts and tensors there are.
 *
 * @throws CideryError `model_incomplete` for a missing part, else as `readGgufHeader`.
 */
export async function readGgufModel(disk: Disk, path: string): Promise<GgufModel> {
  const named = partName.exec(path)?.groups;
  if (named === undefined) {
    const part = await readPart(disk, path);
    const count = part.metadata.optionalCount('split.count') ?? 1;
    if (count <= 1) return { metadata: part.metadata, parts: [part] };
    throw incompleteModel(
      `${fileNameOf(path)} is one of ${count} parts of a model, and its name does not say which`,
      'give the parts the names that they were published with (NAME-00001-of-0000N.gguf)',
    );
  }
  const { prefix = '', count: digits = '' } = named;
  return readParts(disk, prefix, Number(digits));
}

async function readParts(disk: Disk, prefix: string, count: number): Promise<GgufModel> {
  const pathOf = (index: number): string =>
    `${prefix}-${padded(index + 1)}-of-${padded(count)}.gguf`;
  if (count < 1 || count > limits.modelFilesMax) {
    throw brokenFile(fileNameOf(pathOf(0)), `it claims to be one of ${count} parts`);
  }
  const parts: ReadPart[] = [];
  for (let index = 0; index < count; index += 1) {
    const path = pathOf(index);
    if ((await disk.facts(path))?.kind !== 'file') {
      throw incompleteModel(
        `${fileNameOf(path)} is missing: the model is in ${count} files`,
        `fetch all ${count} files into one folder`,
      );
    }
    const part = await readPart(disk, path);
    checkPart(part, index, count);
    parts.push(part);
  }
  const [first] = parts;
  if (first === undefined) throw brokenFile(prefix, 'it has no parts');
  checkTensors(first.metadata, parts);
  return { metadata: first.metadata, parts };
}

function padded(value: number): string {
  return String(value).padStart(5, '0');
}

async function readPart(disk: Disk, path: string): Promise<ReadPart> {
  const file = await disk.open(path);
  try {
    const header = await readGgufHeader(file, fileNameOf(path));
    const metadata = new GgufMetadata(header.metadata, fileNameOf(path));
    return { path, sizeBytes: file.sizeBytes, tensors: header.tensors, metadata };
  } finally {
    await file.close();
  }
}

function checkPart({ metadata }: ReadPart, index: number, count: number): void {
  // A model that was published in one file may well be called 00001-of-00001 without these values.
  const claimed = metadata.optionalCount('split.count') ?? count;
  const number = metadata.optionalCount('split.no') ?? index;
  if (claimed === count && number === index) return;
  throw brokenFile(
    metadata.fileName,
    `it says that it is part ${number + 1} of ${claimed}, not ${index + 1} of ${count}`,
  );
}

function checkTensors(metadata: GgufMetadata, parts: readonly GgufPart[]): void {
  const names = new Set<string>();
  for (const { path, tensors } of parts) {
    for (const { name } of tensors) {
      if (names.has(name)) {
        throw brokenFile(fileNameOf(path), `tensor "${name}" is in another part, too`);
      }
      names.add(name);
    }
  }
  const claimed = metadata.optionalCount('split.tensors.count') ?? names.size;
  if (claimed === names.size) return;
  throw brokenFile(
    metadata.fileName,
    `it says that there are ${claimed} tensors in all parts, but there are ${names.size}`,
  );
}
