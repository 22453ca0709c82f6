import { expect, it } from 'vitest';
import { blockFormats } from './manifest.ts';
import { buildModel } from './model.ts';
import { type FieldKind, none, operations } from './operations.ts';
import { encodeProgram, programMagic, programVersion } from './program-encoding.ts';
import type { ParameterStorage, ProgramBuffer } from './program.ts';
import { smallConfigs, tensorsFor } from './testing.ts';

/** Reads the documented layout, independently of the writer. */
class Reader {
  readonly #view: DataView;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  u32(): number {
    this.#at += 4;
    return this.#view.getUint32(this.#at - 4, true);
  }

  f32(): number {
    this.#at += 4;
    return this.#view.getFloat32(this.#at - 4, true);
  }

  list<Item>(item: () => Item): Item[] {
    return Array.from({ length: this.u32() }, item);
  }

  text(): string {
    const length = this.u32();
    const bytes = new Uint8Array(this.#view.buffer, this.#view.byteOffset + this.#at, length);
    this.#at += Math.ceil(length / 4) * 4;
    return new TextDecoder().decode(bytes);
  }

  end(): boolean {
    return this.#at === this.#view.byteLength;
  }
}

function decode(bytes: Uint8Array) {
  const read = new Reader(bytes);
  expect([read.u32(), read.u32()]).toEqual([programMagic, programVersion]);
  const program = {
    vocabulary: read.u32(),
    contextLength: read.u32(),
    rank: read.u32(),
    ranks: read.u32(),
    buffers: read.list(
      (): ProgramBuffer => ({
        name: read.text(),
        width: read.u32(),
        domain: read.u32() === 0 ? 'tokens' : 'selected',
      }),
    ),
    parameters: read.list(() => ({
      path: read.text(),
      shape: read.list(() => read.u32()),
      storage: storage(read),
    })),
    ropes: read.list(() => ({
      width: read.u32(),
      traditional: read.u32() === 1,
      base: read.f32(),
      scale: read.f32(),
      preScale: read.f32(),
      dynamicFactor: read.f32(),
      dynamicFrom: read.u32(),
      frequencies: nullIfEmpty(read.list(() => read.f32())),
    })),
    caches: read.list(() => ({
      keyHeads: read.u32(),
      headWidth: read.u32(),
      valueWidth: read.u32(),
      window: read.u32(),
    })),
    layouts: read.list(() => read.list(() => read.u32())),
    operations: read.list(() => operation(read)),
  };
  expect(read.end()).toBe(true);
  return program;
}

const nullIfEmpty = (values: number[]) => (values.length === 0 ? null : values);

function storage(read: Reader): ParameterStorage {
  const [kind, bits, group, format] = [read.u32(), read.u32(), read.u32(), read.u32()];
  if (kind === 0) return { kind: 'dense' };
  if (kind === 1) return { kind: 'affine', bits, group };
  return kind === 2 ? { kind: 'mxfp4' } : { kind: 'block', format: blockFormats[format] ?? 'Q4_0' };
}

/** Kind and fields, untyped: the comparison with the program is what types them. */
function operation(read: Reader) {
  const code = read.u32();
  const found = Object.entries(operations).find(([, known]) => known.code === code);
  if (found === undefined) throw new Error(`no operation has the code ${code}`);
  const [kind, { fields }] = found;
  const values = Object.entries(fields).map(([name, field]) => [name, fieldValue(read, field)]);
  return { kind, fields: Object.fromEntries(values) };
}

function fieldValue(read: Reader, kind: FieldKind) {
  if (kind === 'f32') return read.f32();
  if (kind === 'output' || kind === 'input' || kind === 'optionalInput') {
    const value = { buffer: read.u32(), column: read.u32(), width: read.u32() };
    return value.width === 0 ? null : value;
  }
  const value = read.u32();
  return kind.startsWith('optional') && value === none ? null : value;
}

/** Numbers as 32-bit floats hold them. */
function rounded<Value>(value: Value): Value {
  return JSON.parse(JSON.stringify(value), (_, part) =>
    typeof part === 'number' && part < none ? Math.fround(part) : part,
  );
}

const storages: ParameterStorage[] = [
  { kind: 'dense' },
  { kind: 'affine', bits: 3, group: 32 },
  { kind: 'mxfp4' },
  { kind: 'block', format: 'IQ4_NL' },
];

it.each(Object.entries(smallConfigs))('every word of the program of %s comes back', (_, config) => {
  const tensors = tensorsFor(
    config,
    (path) => storages[path.length % storages.length] ?? { kind: 'dense' },
  );
  const { program } = buildModel({ config, tensors });
  expect(decode(encodeProgram(program))).toEqual(rounded(program));
});

it('pads names of any length and any letters to whole words', () => {
  const names = ['', 'a', 'ab', 'abc', 'abcd', 'é', '日本'];
  const program = { ...buildModel({ config: smallConfigs.llama }).program };
  const buffers = names.map((name): ProgramBuffer => ({ name, width: 1, domain: 'tokens' }));
  expect(decode(encodeProgram({ ...program, buffers })).buffers).toEqual(buffers);
});

it('grows for programs of real models', () => {
  const { program } = buildModel({ config: { ...smallConfigs.qwen2, num_hidden_layers: 200 } });
  const bytes = encodeProgram(program);
  expect(bytes.length).toBeGreaterThan(1 << 17);
  expect(decode(bytes)).toEqual(rounded(program));
});
