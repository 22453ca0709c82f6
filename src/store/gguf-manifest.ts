import { createHash } from 'node:crypto';
import { limits } from '../base/limits.ts';
import type { ModelManifest, ModelText, TensorEntry } from '../model/manifest.ts';
import type { Disk } from '../ports/disk.ts';
import { ggufArchitecture } from './gguf/architectures.ts';
import { ggufConfig } from './gguf/config.ts';
import type { GgufTensorFacts } from './gguf/family-config.ts';
import type { GgufMetadata } from './gguf/metadata.ts';
import { type GgufModel, type GgufPart, readGgufModel } from './gguf/parts.ts';
import type { GgufTensor } from './gguf/reader.ts';
import { ggufTensorEntry } from './gguf/tensor-names.ts';
import { ggufTokenizer } from './gguf/tokenizer.ts';
import {
  endIds,
  type GgufVocabulary,
  readVocabulary,
  type TokenRole,
  tokenRoles,
} from './gguf/vocabulary.ts';
import { brokenFile, fileNameOf, incompleteModel } from './model-file-error.ts';

/** Counts up when `ggufTokenizer` makes another tokenizer.json of the same file. */
const tokenizerVersion = 1;

/**
 * The manifest of a GGUF file, which is used where it lies: equivalent config, tensors under
 * Hugging Face's names with what is to be undone of llama.cpp's changes, and the text side. The
 * tokenizer.json made of its metadata is written once below `cacheFolder` and found again while
 * path, size and time of the file stay.
 *
 * @throws CideryError `model_file_broken`, `model_unsupported` or `model_incomplete`, with file
 * and reason.
 */
export async function readGgufManifest(
  disk: Disk,
  path: string,
  id: string,
  cacheFolder: string,
): Promise<ModelManifest> {
  const model = await readGgufModel(disk, path);
  const { metadata, parts } = model;
  const architecture = ggufArchitecture(metadata.text('general.architecture'), metadata.fileName);
  const facts = await readTensorFacts(disk, model);
  const { config, dimensions } = ggufConfig(metadata, architecture, facts);
  const tensors: TensorEntry[] = [];
  parts.forEach((part, file) => {
    const fileName = fileNameOf(part.path);
    for (const tensor of part.tensors) {
      const entry = ggufTensorEntry(tensor, file, architecture, dimensions, fileName);
      if (entry !== null) tensors.push(entry);
    }
  });
  const vocabulary = readVocabulary(metadata);
  if (vocabulary.tokens.length > facts.vocabularySize) {
    throw brokenFile(
      metadata.fileName,
      `it has ${vocabulary.tokens.length} tokens but embeds only ${facts.vocabularySize}`,
    );
  }
  const { bos, eos } = vocabulary.roles;
  return {
    id,
    files: parts.map((part) => ({ path: part.path, sizeBytes: part.sizeBytes })),
    config: {
      ...config,
      ...(bos === undefined ? {} : { bos_token_id: bos }),
      ...(eos === undefined ? {} : { eos_token_id: eos }),
    },
    tensors,
    text: await readText(disk, model, vocabulary, cacheFolder),
  };
}

async function readText(
  disk: Disk,
  { metadata, parts }: GgufModel,
  vocabulary: GgufVocabulary,
  cacheFolder: string,
): Promise<ModelText> {
  const chatTemplate = metadata.optionalText('tokenizer.chat_template');
  return {
    tokenizerPath: await tokenizerFile(disk, parts, metadata, vocabulary, cacheFolder),
    chatTemplate,
    specialTokens: specialTokens(vocabulary),
    eosIds: endIds(vocabulary),
  };
}

const templateNames: Readonly<Partial<Record<TokenRole, string>>> = {
  bos: 'bos_token',
  eos: 'eos_token',
  unk: 'unk_token',
  pad: 'pad_token',
  sep: 'sep_token',
  mask: 'mask_token',
};

function specialTokens({ roles, tokens }: GgufVocabulary): Record<string, string> {
  const special: Record<string, string> = {};
  for (const role of tokenRoles) {
    const id = roles[role];
    const name = templateNames[role];
    const token = id === undefined ? undefined : tokens[id];
    if (name !== undefined && token !== undefined) special[name] = token;
  }
  return special;
}

/** Path of the tokenizer.json of this file, which is made when it is not there yet. */
async function tokenizerFile(
  disk: Disk,
  parts: readonly GgufPart[],
  metadata: GgufMetadata,
  vocabulary: GgufVocabulary,
  cacheFolder: string,
): Promise<string> {
  const path = parts[0]?.path ?? '';
  const facts = await disk.facts(path);
  if (facts === null) throw incompleteModel(`${path} is gone`, 'fetch the model again');
  const identity = [await disk.realPath(path), facts.sizeBytes, facts.modifiedMs, tokenizerVersion];
  const key = createHash('sha256').update(JSON.stringify(identity)).digest('hex').slice(0, 32);
  const folder = `${cacheFolder}/${key}`;
  const tokenizerPath = `${folder}/tokenizer.json`;
  if ((await disk.facts(tokenizerPath))?.kind === 'file') return tokenizerPath;
  const text = JSON.stringify(ggufTokenizer(metadata, vocabulary));
  await disk.makeFolder(folder);
  await disk.writeTextAtomically(tokenizerPath, text);
  return tokenizerPath;
}

async function readTensorFacts(disk: Disk, model: GgufModel): Promise<GgufTensorFacts> {
  const tensors = model.parts.flatMap((part) => part.tensors);
  const embedding = tensors.find(({ name }) => name === 'token_embd.weight');
  if (embedding === undefined || embedding.shape.length !== 2) {
    throw brokenFile(model.metadata.fileName, 'it has no embedding ("token_embd.weight")');
  }
  return {
    names: new Set(tensors.map(({ name }) => name)),
    vocabularySize: embedding.shape[0] ?? 0,
    ropeTables: {
      freqs: await readTable(disk, model, 'rope_freqs.weight'),
      long: await readTable(disk, model, 'rope_factors_long.weight'),
      short: await readTable(disk, model, 'rope_factors_short.weight'),
    },
  };
}

/** The values of a small f32 tensor, or null when the model does not have it. */
async function readTable(disk: Disk, model: GgufModel, name: string): Promise<Float32Array | null> {
  for (const part of model.parts) {
    const tensor = part.tensors.find((candidate) => candidate.name === name);
    if (tensor !== undefined) return readFloats(disk, part, tensor);
  }
  return null;
}

async function readFloats(disk: Disk, part: GgufPart, tensor: GgufTensor): Promise<Float32Array> {
  const fileName = fileNameOf(part.path);
  if (tensor.type.format !== 'F32' || tensor.byteLength > limits.ropeTableMaxBytes) {
    throw brokenFile(fileName, `tensor "${tensor.name}" is not a table of rope factors`);
  }
  const file = await disk.open(part.path);
  try {
    const bytes = await file.read(tensor.offset, tensor.byteLength);
    if (bytes.length < tensor.byteLength) {
      throw brokenFile(fileName, `it became shorter than ${part.sizeBytes} bytes`);
    }
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    return Float32Array.from({ length: bytes.length / 4 }, (_, at) =>
      view.getFloat32(at * 4, true),
    );
  } finally {
    await file.close();
  }
}
