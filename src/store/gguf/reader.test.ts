import { describe, expect, it } from 'vitest';
import { gguf, type GgufTestValue, writeGguf } from '../../../test/support/gguf-writer.ts';
import { MemoryFile } from '../../../test/support/memory-disk.ts';
import { rejection } from '../../../test/support/rejection.ts';
import { seededNumbers } from '../../../test/support/seeded-numbers.ts';
import { tinyLlama, tinyLlamaTensors, zeros } from '../../../test/support/tiny-gguf.ts';
import { CideryError } from '../../base/error.ts';
import { ggmlTypes } from './ggml-types.ts';
import { readGgufHeader } from './reader.ts';

const fileName = 'model.gguf';

function read(bytes: Uint8Array): ReturnType<typeof readGgufHeader> {
  return readGgufHeader(new MemoryFile(bytes), fileName);
}

const every: [string, GgufTestValue][] = [
  ['u8', { type: 'u8', value: 255 }],
  ['i8', { type: 'i8', value: -128 }],
  ['u16', { type: 'u16', value: 65_535 }],
  ['i16', { type: 'i16', value: -2 }],
  ['u32', gguf.u32(4_294_967_295)],
  ['i32', { type: 'i32', value: -3 }],
  ['f32', gguf.f32(0.5)],
  ['bool', gguf.bool(true)],
  ['text', gguf.string('ΩΩ')],
  ['texts', gguf.strings(['', '😀'])],
  ['u64', { type: 'u64', value: 2 ** 53 }],
  ['i64', { type: 'i64', value: -4 }],
  ['f64', { type: 'f64', value: 0.1 }],
  ['flags', { type: 'array', of: 'bool', values: [true, false] }],
  ['shorts', { type: 'array', of: 'i16', values: [1, -1] }],
  ['none', gguf.strings([])],
];

describe('a sound file', () => {
  it('gives values of every type', async () => {
    const { metadata, version } = await read(writeGguf({ metadata: every, version: 2 }));
    expect(version).toBe(2);
    expect(Object.fromEntries(metadata)).toEqual({
      u8: 255,
      i8: -128,
      u16: 65_535,
      i16: -2,
      u32: 4_294_967_295,
      i32: -3,
      f32: 0.5,
      bool: true,
      text: 'ΩΩ',
      texts: { kind: 'strings', values: ['', '😀'] },
      u64: 9_007_199_254_740_992n,
      i64: -4,
      f64: 0.1,
      flags: { kind: 'booleans', values: [true, false] },
      shorts: { kind: 'numbers', values: Int16Array.of(1, -1) },
      none: { kind: 'strings', values: [] },
    });
  });

  it('gives tensors with their shape outermost first and their place in the file', async () => {
    const bytes = writeGguf({
      metadata: { 'general.alignment': gguf.u32(64) },
      alignment: 64,
      tensors: [
        zeros('a', [3]),
        { name: 'b', type: 12, shape: [2, 256], data: new Uint8Array(288) },
      ],
    });
    expect((await read(bytes)).tensors).toEqual([
      { name: 'a', type: ggmlTypes.get(0), shape: [3], offset: 192, byteLength: 12 },
      { name: 'b', type: ggmlTypes.get(12), shape: [2, 256], offset: 256, byteLength: 288 },
    ]);
  });

  it('of 262,144 tokens is read in pieces and well', async () => {
    const tokens = Array.from({ length: 262_144 }, (_, id) => `token ${id}`);
    const file = new MemoryFile(writeGguf({ metadata: { tokens: gguf.strings(tokens) } }));
    const { metadata } = await readGgufHeader(file, fileName);
    expect(metadata.get('tokens')).toEqual({ kind: 'strings', values: tokens });
    expect(file.largestRead).toBe(1024 * 1024);
    expect(file.bytesRead).toBe(file.sizeBytes);
  });

  it('is read without its tensors', async () => {
    const file = new MemoryFile(writeGguf({ metadata: {}, tensors: [zeros('a', [2048, 2048])] }));
    await readGgufHeader(file, fileName);
    expect(file.bytesRead).toBe(1024 * 1024);
  });
});

/** The bytes of a file with a number written over them. */
function changed(bytes: Uint8Array, offset: number, value: bigint): Uint8Array {
  const copy = Buffer.from(bytes);
  copy.writeBigUInt64LE(value, offset);
  return copy;
}

const empty = writeGguf({ metadata: {} });
const oneText = writeGguf({ metadata: { k: gguf.string('v') } });
const oneList = writeGguf({ metadata: { k: gguf.strings(['v']) } });
/** Offset of the value in `oneText` and `oneList`: header, name, type. */
const valueOffset = 24 + 9 + 4;

describe('a lying file is refused with its reason', () => {
  const huge = 2n ** 62n;
  const cases: [what: string, bytes: Uint8Array, reason: string][] = [
    ['no bytes', new Uint8Array(0), 'it is cut short'],
    ['another magic', Buffer.from('GGML'.padEnd(64, '\0')), 'it is not a GGUF file'],
    ['another version', writeGguf({ metadata: {}, version: 77 }), 'GGUF of version 77'],
    ['absurd tensors', changed(empty, 8, huge), 'it claims 4611686018427388000 tensors'],
    ['absurd values', changed(empty, 16, huge), 'and 4611686018427388000 values in 8 bytes'],
    ['an absurd name', changed(oneText, 24, huge), 'the name of value 0 is 4611686018427388000 b'],
    ['an empty name', changed(oneText, 24, 0n), 'the name of value 0 is empty'],
    ['an absurd text', changed(oneText, valueOffset, huge), 'the value of "k" at byte 45 needs'],
    [
      'an absurd array',
      changed(oneList, valueOffset + 4, huge),
      'claims 4611686018427388000 elements',
    ],
    ['an absurd text in one', changed(oneList, valueOffset + 12, huge), 'the array "k" at byte'],
    ['an unknown type', changed(oneText, 33, 99n), '"k" has the unknown type 99'],
    ['arrays of arrays', changed(oneList, valueOffset, 9n), '"k" is an array of arrays'],
    ['an array of nothing known', changed(oneList, valueOffset, 13n), 'of the unknown type 13'],
    [
      'a flag of 2',
      changed(writeGguf({ metadata: { k: gguf.bool(true), l: gguf.u32(1) } }), valueOffset, 2n),
      '"k" is neither true nor false',
    ],
    [
      'a value twice',
      writeGguf({ metadata: [...every.slice(0, 1), ...every.slice(0, 1)] }),
      'it holds the value "u8" twice',
    ],
    [
      'a tensor twice',
      writeGguf({ metadata: {}, tensors: [zeros('a', [8]), zeros('a', [8])] }),
      'it holds the tensor "a" twice',
    ],
    [
      'an odd alignment',
      writeGguf({ metadata: { 'general.alignment': gguf.u32(48) } }),
      'its alignment is not a power of two',
    ],
    [
      'no alignment',
      writeGguf({ metadata: { 'general.alignment': gguf.u32(0) } }),
      'its alignment is not a power of two',
    ],
    [
      'five dimensions',
      writeGguf({ metadata: {}, tensors: [zeros('a', [1, 1, 1, 1, 1])] }),
      'tensor "a" has 5 dimensions',
    ],
    [
      'an empty dimension',
      writeGguf({ metadata: {}, tensors: [{ ...zeros('a', [8]), shape: [0, 8] }] }),
      'the impossible shape [0, 8]',
    ],
    [
      'an overflowing shape',
      writeGguf({
        metadata: {},
        tensors: [{ ...zeros('a', [8]), shape: [2 ** 31, 2 ** 31, 2 ** 31] }],
      }),
      'the impossible shape',
    ],
    [
      'rows that are no blocks',
      writeGguf({ metadata: {}, tensors: [{ ...zeros('a', [8]), type: 8, shape: [33] }] }),
      'rows of 33 in tensor "a" are not whole blocks of Q8_0 (32 values)',
    ],
    [
      'an unaligned offset',
      writeGguf({ metadata: {}, tensors: [{ ...zeros('a', [8]), relativeOffset: 8 }] }),
      'lies at the unaligned offset 8',
    ],
    [
      'an overlap',
      writeGguf({
        metadata: {},
        tensors: [zeros('a', [16]), { ...zeros('b', [8]), relativeOffset: 32 }],
      }),
      'tensor "b" overlaps "a"',
    ],
    [
      'a tensor past the end',
      writeGguf({ metadata: {}, tensors: [{ ...zeros('a', [8]), shape: [800] }] }),
      'it is cut short: tensor "a" ends at byte',
    ],
  ];
  it.each(cases)('%s', async (_what, bytes, reason) => {
    const { code, message } = await rejection(read(bytes));
    expect(code).toBe('model_file_broken');
    expect(message).toContain(`${fileName} is broken: `);
    expect(message).toContain(reason);
  });

  const foreign: [what: string, bytes: Uint8Array, reason: string][] = [
    ['version 1', writeGguf({ metadata: {}, version: 1 }), 'GGUF file of version 1'],
    ['big-endian', writeGguf({ metadata: {}, version: 0x03000000 }), 'big-endian'],
    [
      'a type of tomorrow',
      writeGguf({ metadata: {}, tensors: [{ ...zeros('a', [8]), type: 77 }] }),
      'holds tensor "a" in a type that cidery does not know (number 77)',
    ],
  ];
  it.each(foreign)('%s is called unsupported', async (_what, bytes, reason) => {
    const { code, message } = await rejection(read(bytes));
    expect(code).toBe('model_unsupported');
    expect(message).toContain(reason);
  });
});

describe('hostile bytes', () => {
  const original = writeGguf({ metadata: tinyLlama, tensors: tinyLlamaTensors });

  it('a file cut anywhere is refused', async () => {
    for (let length = 0; length < original.length; length += 1) {
      expect((await rejection(read(original.subarray(0, length)))).code).toBe('model_file_broken');
    }
  });

  it('changed bytes give a header inside the file or a coded error, no large read', async () => {
    const headerBytes = (await read(original)).tensors[0]?.offset ?? 0;
    const next = seededNumbers(11);
    let refused = 0;
    for (let round = 0; round < 6_000; round += 1) {
      const bytes = Buffer.from(original);
      for (let change = next(4); change >= 0; change -= 1) {
        const offset = next(headerBytes - 8);
        if (next(2) === 0) bytes[offset] = next(256);
        else bytes.writeBigUInt64LE(BigInt(next(2 ** 31)) << BigInt(next(34)), offset);
      }
      const file = new MemoryFile(bytes);
      try {
        const { tensors } = await readGgufHeader(file, fileName);
        for (const { offset, byteLength } of tensors) {
          expect(offset + byteLength).toBeLessThanOrEqual(bytes.length);
        }
      } catch (error) {
        if (!(error instanceof CideryError)) throw error;
        refused += 1;
      }
      expect(file.bytesRead).toBeLessThanOrEqual(bytes.length);
    }
    expect(refused).toBeGreaterThan(3_000);
  });

  it('a file that shrinks while it is read is refused', async () => {
    const file = new MemoryFile(original.subarray(0, 100), original.length);
    const { message } = await rejection(readGgufHeader(file, fileName));
    expect(message).toContain(`it became shorter than ${original.length} bytes`);
  });
});
