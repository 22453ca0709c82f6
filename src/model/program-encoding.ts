import { blockFormats } from './manifest.ts';
import { type FieldKind, none, operations } from './operations.ts';
import type { Columns, Operation, ParameterStorage, Program } from './program.ts';

/**
 * A program as the addon reads it: little-endian 32-bit words; a string is its byte length and its
 * UTF-8 bytes padded with zeros to whole words; a list is its length and its items.
 *
 *     magic, version, vocabulary, contextLength, rank, ranks
 *     buffers:    name, width, domain (0 tokens, 1 selected)
 *     parameters: path, shape (list), storage
 *     ropes:      width, traditional, base, scale, preScale, dynamicFactor (f32), dynamicFrom,
 *                 frequencies (list of f32, empty when base counts)
 *     caches:     keyHeads, headWidth, valueWidth, window
 *     layouts:    widths (list)
 *     operations: code, then its fields as `operations` lists them
 *     storage:    kind (0 dense, 1 affine, 2 mxfp4, 3 block), bits, group, block format
 */
export const programMagic = 0x50444943; // "CIDP"
export const programVersion = 3;

const storageKinds = { dense: 0, affine: 1, mxfp4: 2, block: 3 } as const;

export function encodeProgram(program: Program): Uint8Array {
  const words = new WordWriter();
  const { vocabulary, contextLength, rank, ranks } = program;
  words.u32(programMagic, programVersion, vocabulary, contextLength, rank, ranks);
  words.list(program.buffers, (buffer) => {
    words.text(buffer.name);
    words.u32(buffer.width, buffer.domain === 'tokens' ? 0 : 1);
  });
  words.list(program.parameters, (parameter) => {
    words.text(parameter.path);
    words.list(parameter.shape, (size) => words.u32(size));
    writeStorage(words, parameter.storage);
  });
  words.list(program.ropes, (rope) => {
    words.u32(rope.width, rope.traditional ? 1 : 0);
    words.f32(rope.base, rope.scale, rope.preScale, rope.dynamicFactor);
    words.u32(rope.dynamicFrom);
    words.list(rope.frequencies ?? [], (frequency) => words.f32(frequency));
  });
  words.list(program.caches, (cache) =>
    words.u32(cache.keyHeads, cache.headWidth, cache.valueWidth, cache.window),
  );
  words.list(program.layouts, (widths) => words.list(widths, (width) => words.u32(width)));
  words.list(program.operations, (operation) => writeOperation(words, operation));
  return words.bytes();
}

function writeStorage(words: WordWriter, storage: ParameterStorage): void {
  const bits = storage.kind === 'affine' ? storage.bits : 0;
  const group = storage.kind === 'affine' ? storage.group : 0;
  const format =
    storage.kind === 'block' ? (blockFormats as readonly string[]).indexOf(storage.format) : 0;
  words.u32(storageKinds[storage.kind], bits, group, format);
}

function writeOperation(words: WordWriter, operation: Operation): void {
  const { code, fields } = operations[operation.kind];
  words.u32(code);
  const values = operation.fields as Record<string, Columns | number | null>;
  for (const [name, kind] of Object.entries(fields)) {
    writeField(words, kind, values[name] ?? null);
  }
}

function writeField(words: WordWriter, kind: FieldKind, value: Columns | number | null): void {
  if (value === null) {
    if (kind === 'optionalInput') words.u32(0, 0, 0);
    else words.u32(none);
  } else if (typeof value === 'object') words.u32(value.buffer, value.column, value.width);
  else if (kind === 'f32') words.f32(value);
  else words.u32(value);
}

/** Grows as needed; every value is one little-endian 32-bit word. */
class WordWriter {
  #view = new DataView(new ArrayBuffer(1 << 14));
  #length = 0;

  u32(...values: number[]): void {
    for (const value of values) {
      const at = this.#claim();
      this.#view.setUint32(at, value, true);
    }
  }

  f32(...values: number[]): void {
    for (const value of values) {
      const at = this.#claim();
      this.#view.setFloat32(at, value, true);
    }
  }

  list<Item>(items: readonly Item[], write: (item: Item) => void): void {
    this.u32(items.length);
    for (const item of items) write(item);
  }

  text(text: string): void {
    const bytes = new TextEncoder().encode(text);
    this.u32(bytes.length);
    for (let at = 0; at < bytes.length; at += 4) {
      const word = [0, 1, 2, 3].reduce((sum, k) => sum + (bytes[at + k] ?? 0) * 2 ** (8 * k), 0);
      this.u32(word);
    }
  }

  bytes(): Uint8Array {
    return new Uint8Array(this.#view.buffer, 0, this.#length);
  }

  /** Offset of the next word; may replace the view, so it is called before the view is read. */
  #claim(): number {
    const at = this.#length;
    if (at + 4 > this.#view.byteLength) {
      const larger = new Uint8Array(this.#view.byteLength * 2);
      larger.set(new Uint8Array(this.#view.buffer));
      this.#view = new DataView(larger.buffer);
    }
    this.#length = at + 4;
    return at;
  }
}
