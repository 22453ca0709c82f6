/** Value types of GGUF metadata, by their number in a file. */
const typeIds = {
  u8: 0,
  i8: 1,
  u16: 2,
  i16: 3,
  u32: 4,
  i32: 5,
  f32: 6,
  bool: 7,
  string: 8,
  array: 9,
  u64: 10,
  i64: 11,
  f64: 12,
} as const;

type NumberType = Exclude<keyof typeof typeIds, 'bool' | 'string' | 'array'>;

export type GgufTestValue =
  | { readonly type: NumberType; readonly value: number }
  | { readonly type: 'bool'; readonly value: boolean }
  | { readonly type: 'string'; readonly value: string }
  | { readonly type: 'array'; readonly of: NumberType; readonly values: readonly number[] }
  | { readonly type: 'array'; readonly of: 'bool'; readonly values: readonly boolean[] }
  | { readonly type: 'array'; readonly of: 'string'; readonly values: readonly string[] };

export interface GgufTestTensor {
  readonly name: string;
  /** Number of the ggml type. */
  readonly type: number;
  /** Outermost dimension first. */
  readonly shape: readonly number[];
  readonly data: Uint8Array;
  /** Instead of the next free place. */
  readonly relativeOffset?: number;
}

export interface GgufTestFile {
  readonly version?: number;
  readonly metadata: Readonly<Record<string, GgufTestValue>> | readonly [string, GgufTestValue][];
  readonly tensors?: readonly GgufTestTensor[];
  readonly alignment?: number;
}

export const gguf = {
  u32: (value: number): GgufTestValue => ({ type: 'u32', value }),
  f32: (value: number): GgufTestValue => ({ type: 'f32', value }),
  bool: (value: boolean): GgufTestValue => ({ type: 'bool', value }),
  string: (value: string): GgufTestValue => ({ type: 'string', value }),
  strings: (values: readonly string[]): GgufTestValue => ({ type: 'array', of: 'string', values }),
  i32s: (values: readonly number[]): GgufTestValue => ({ type: 'array', of: 'i32', values }),
  f32s: (values: readonly number[]): GgufTestValue => ({ type: 'array', of: 'f32', values }),
};

/** The bytes of a GGUF file, for tests (gguf.md of ggml); a lie can be told in any field. */
export function writeGguf(file: GgufTestFile): Uint8Array {
  const alignment = file.alignment ?? 32;
  const entries = Array.isArray(file.metadata) ? file.metadata : Object.entries(file.metadata);
  const tensors = file.tensors ?? [];
  const parts: Buffer[] = [
    Buffer.from('GGUF'),
    number('u32', file.version ?? 3),
    number('u64', tensors.length),
    number('u64', entries.length),
  ];
  for (const [key, value] of entries) parts.push(text(key), valueBytes(value));
  let next = 0;
  const places = tensors.map((tensor) => {
    const place = tensor.relativeOffset ?? next;
    next = align(place + tensor.data.length, alignment);
    return place;
  });
  tensors.forEach((tensor, index) => {
    parts.push(text(tensor.name), number('u32', tensor.shape.length));
    for (const size of tensor.shape.toReversed()) parts.push(number('u64', size));
    parts.push(number('u32', tensor.type), number('u64', places[index] ?? 0));
  });
  const header = Buffer.concat(parts);
  const dataOffset = align(header.length, alignment);
  const ends = tensors.map((tensor, index) => (places[index] ?? 0) + tensor.data.length);
  const bytes = Buffer.alloc(Math.max(header.length, dataOffset + Math.max(0, ...ends)));
  header.copy(bytes);
  tensors.forEach((tensor, index) => bytes.set(tensor.data, dataOffset + (places[index] ?? 0)));
  return bytes;
}

function align(offset: number, alignment: number): number {
  return Math.ceil(offset / alignment) * alignment;
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value, 'utf8');
  return Buffer.concat([number('u64', bytes.length), bytes]);
}

function valueBytes(value: GgufTestValue): Buffer {
  const type = number('u32', typeIds[value.type]);
  if (value.type !== 'array') return Buffer.concat([type, scalarBytes(value.type, value.value)]);
  const items = value.values.map((item) => scalarBytes(value.of, item));
  return Buffer.concat([
    type,
    number('u32', typeIds[value.of]),
    number('u64', items.length),
    ...items,
  ]);
}

function scalarBytes(type: keyof typeof typeIds, value: string | number | boolean): Buffer {
  if (typeof value === 'string') return text(value);
  if (typeof value === 'boolean') return Buffer.from([value ? 1 : 0]);
  if (type === 'bool' || type === 'string' || type === 'array') {
    throw new TypeError(`a ${type} is not a number`);
  }
  return number(type, value);
}

function number(type: NumberType, value: number): Buffer {
  const bytes = Buffer.alloc(8);
  const length = writers[type](bytes, value);
  return bytes.subarray(0, length);
}

const writers: Record<NumberType, (bytes: Buffer, value: number) => number> = {
  u8: (bytes, value) => bytes.writeUInt8(value),
  i8: (bytes, value) => bytes.writeInt8(value),
  u16: (bytes, value) => bytes.writeUInt16LE(value),
  i16: (bytes, value) => bytes.writeInt16LE(value),
  u32: (bytes, value) => bytes.writeUInt32LE(value),
  i32: (bytes, value) => bytes.writeInt32LE(value),
  f32: (bytes, value) => bytes.writeFloatLE(value),
  u64: (bytes, value) => bytes.writeBigUInt64LE(BigInt(value)),
  i64: (bytes, value) => bytes.writeBigInt64LE(BigInt(value)),
  f64: (bytes, value) => bytes.writeDoubleLE(value),
};
