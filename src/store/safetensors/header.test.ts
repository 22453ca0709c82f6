import { describe, expect, it } from 'vitest';
import { MemoryFile } from '../../../test/support/memory-disk.ts';
import { rejection } from '../../../test/support/rejection.ts';
import { seededNumbers } from '../../../test/support/seeded-numbers.ts';
import { CideryError } from '../../base/error.ts';
import { readSafetensorsHeader } from './header.ts';

const fileName = 'model.safetensors';

function fileOf(header: string | Uint8Array, dataBytes: number, claimed?: bigint): Uint8Array {
  const text = Buffer.from(header);
  const bytes = Buffer.alloc(8 + text.length + dataBytes);
  bytes.writeBigUInt64LE(claimed ?? BigInt(text.length));
  text.copy(bytes, 8);
  return bytes;
}

function read(bytes: Uint8Array): Promise<unknown> {
  return readSafetensorsHeader(new MemoryFile(bytes), fileName);
}

function tensor(dtype: string, shape: readonly number[], begin: number, end: number): object {
  return { dtype, shape, data_offsets: [begin, end] };
}

const twoTensors = JSON.stringify({
  'z.weight': tensor('BF16', [2, 3], 4, 16),
  __metadata__: null,
  'a.bias': tensor('F32', [1], 0, 4),
});

describe('a sound header', () => {
  it('gives the tensors in the order of their bytes, whatever order names them', async () => {
    const bytes = fileOf(`${twoTensors}   `, 16);
    const start = 8 + twoTensors.length + 3;
    expect(await read(bytes)).toEqual([
      { name: 'a.bias', format: 'F32', shape: [1], offset: start, byteLength: 4 },
      { name: 'z.weight', format: 'BF16', shape: [2, 3], offset: start + 4, byteLength: 12 },
    ]);
  });

  it('may hold a table of texts, scalars and empty tensors', async () => {
    const header = JSON.stringify({
      __metadata__: { format: 'mlx' },
      empty: tensor('F16', [0, 4], 2, 2),
      scalar: tensor('F16', [], 0, 2),
      __proto__: undefined,
    });
    const start = 8 + header.length;
    expect(await read(fileOf(header, 2))).toEqual([
      { name: 'scalar', format: 'F16', shape: [], offset: start, byteLength: 2 },
      { name: 'empty', format: 'F16', shape: [0, 4], offset: start + 2, byteLength: 0 },
    ]);
  });

  it('may hold a tensor called __proto__', async () => {
    const header = `{"__proto__":${JSON.stringify(tensor('U8', [1], 0, 1))}}`;
    expect(await read(fileOf(header, 1))).toEqual([
      { name: '__proto__', format: 'U8', shape: [1], offset: 8 + header.length, byteLength: 1 },
    ]);
  });

  it('is all that is read of the file', async () => {
    const file = new MemoryFile(fileOf(JSON.stringify({ w: tensor('U8', [1000], 0, 1000) }), 1000));
    await readSafetensorsHeader(file, fileName);
    expect(file.bytesRead).toBe(file.sizeBytes - 1000);
  });
});

describe('a lying header is refused with its reason', () => {
  const one = (entry: object): string => JSON.stringify({ w: entry });
  const cases: [what: string, bytes: Uint8Array, reason: string][] = [
    ['an empty file', new Uint8Array(0), 'it ends after 0 bytes, in the middle of its header'],
    ['a length past the end', fileOf('{}', 0, 3n), 'claims a header of 3 bytes but has only 2'],
    [
      'an absurd length',
      fileOf('{}', 0, 2n ** 63n),
      'claims a header of 9223372036854775808 bytes',
    ],
    ['no JSON', fileOf('{"w":', 0), 'its header is not JSON'],
    ['no text', fileOf(Uint8Array.of(0xff, 0xfe), 0), 'its header is not UTF-8 text'],
    ['no object', fileOf('[]', 0), 'its header is not a JSON object'],
    ['a name twice', fileOf('{"w":1,"\\u0077":2}', 0), 'its header names "w" twice'],
    [
      'a field twice',
      fileOf('{"w":{"dtype":"U8","shape":[1],"shape":[0],"data_offsets":[0,0]}}', 0),
      'its header names "shape" twice',
    ],
    ['wrong metadata', fileOf('{"__metadata__":3}', 0), '__metadata__ is not a table of strings'],
    ['an unknown type', fileOf(one(tensor('F33', [1], 0, 4)), 4), 'the unknown type "F33"'],
    ['a negative size', fileOf(one(tensor('U8', [-1], 0, 1)), 1), 'is described wrongly'],
    ['half a size', fileOf(one(tensor('U8', [0.5], 0, 1)), 1), 'is described wrongly'],
    ['no shape', fileOf('{"w":{"dtype":"U8","data_offsets":[0,1]}}', 1), 'is described wrongly'],
    ['an end before its begin', fileOf(one(tensor('U8', [1], 1, 0)), 1), 'ends before it begins'],
    [
      'an overflowing shape',
      fileOf(one(tensor('F32', [2 ** 40, 2 ** 40], 0, 4)), 4),
      'the impossible shape [1099511627776, 1099511627776]',
    ],
    [
      'another length than its shape has',
      fileOf(one(tensor('F32', [2], 0, 4)), 4),
      'takes 4 bytes, but [2] in F32 takes 8',
    ],
    [
      'an overlap',
      fileOf(JSON.stringify({ a: tensor('U8', [2], 0, 2), b: tensor('U8', [2], 1, 3) }), 3),
      'tensor "b" overlaps tensor "a"',
    ],
    [
      'a hole',
      fileOf(JSON.stringify({ a: tensor('U8', [1], 0, 1), b: tensor('U8', [1], 2, 3) }), 3),
      '1 bytes between tensor "a" and tensor "b" belong to nothing',
    ],
    ['a hole in front', fileOf(one(tensor('U8', [1], 1, 2)), 2), '1 bytes between the header and'],
    ['bytes behind', fileOf(one(tensor('U8', [1], 0, 1)), 5), '4 bytes behind tensor "w"'],
    ['missing bytes', fileOf(one(tensor('U8', [9], 0, 9)), 5), 'it is cut short: '],
  ];
  it.each(cases)('%s', async (_what, bytes, reason) => {
    const { code, message } = await rejection(read(bytes));
    expect(code).toBe('model_file_broken');
    expect(message).toContain(`${fileName} is broken: `);
    expect(message).toContain(reason);
  });

  it('types of the format that we do not run are called unsupported', async () => {
    const bytes = fileOf(one(tensor('C64', [1], 0, 8)), 8);
    expect((await rejection(read(bytes))).code).toBe('model_unsupported');
  });
});

describe('hostile bytes', () => {
  it('a file cut anywhere is refused', async () => {
    const bytes = fileOf(twoTensors, 16);
    for (let length = 0; length < bytes.length; length += 1) {
      expect((await rejection(read(bytes.subarray(0, length)))).code).toBe('model_file_broken');
    }
  });

  it('changed bytes give tensors inside the file or a coded error', async () => {
    const original = fileOf(twoTensors, 16);
    const next = seededNumbers(7);
    let refused = 0;
    for (let round = 0; round < 3000; round += 1) {
      const bytes = Buffer.from(original);
      for (let change = next(3); change >= 0; change -= 1) {
        bytes[next(bytes.length - 16)] = next(256);
      }
      try {
        const tensors = await readSafetensorsHeader(new MemoryFile(bytes), fileName);
        for (const { offset, byteLength } of tensors) {
          expect(offset + byteLength).toBeLessThanOrEqual(bytes.length);
        }
      } catch (error) {
        expect(error).toBeInstanceOf(CideryError);
        refused += 1;
      }
    }
    expect(refused).toBeGreaterThan(1000);
  });

  it('a claim of a huge header reads nothing', async () => {
    const file = new MemoryFile(fileOf('{}', 0, 90_000_000n));
    await rejection(readSafetensorsHeader(file, fileName));
    expect(file.largestRead).toBe(8);
  });
});
