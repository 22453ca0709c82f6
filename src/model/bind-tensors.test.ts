import { describe, expect, it } from 'vitest';
import { CideryError } from '../base/error.ts';
import type { Config } from './config.ts';
import type { TensorEntry } from './manifest.ts';
import { buildModel } from './model.ts';
import type { ParameterStorage } from './program.ts';
import { smallConfigs, tensor, tensorsFor } from './testing.ts';

const { llama, granite, gemma3, gemma3_text, mistral3 } = smallConfigs;
const affine = (bits: number, group: number): ParameterStorage => ({ kind: 'affine', bits, group });
const q = 'model.layers.0.self_attn.q_proj';
const down = 'model.layers.0.mlp.down_proj';

function storages(config: Config, tensors: readonly TensorEntry[]): Record<string, string> {
  const { program } = buildModel({ config, tensors });
  return Object.fromEntries(
    program.parameters.map(({ path, storage }) => [path, Object.values(storage).join(' ')]),
  );
}

function refusal(config: Config, tensors: readonly TensorEntry[]): string {
  try {
    buildModel({ config, tensors });
  } catch (error) {
    if (error instanceof CideryError) return `${error.code}: ${error.message}`;
    throw error;
  }
  return 'accepted';
}

describe('bindTensors', () => {
  it.each(Object.entries(smallConfigs))('finds every parameter of %s', (_, config) => {
    const tensors = tensorsFor(config);
    const { sources, parameters, ignored } = buildModel({ config, tensors });
    const found = sources?.map(({ parameter, parts }) => [
      parameters[parameter]?.path,
      ...parts.map(({ role, entry }) => `${role} ${entry.name}`),
    ]);
    expect(found).toEqual(parameters.map(({ path }) => [path, `weight ${path}`]));
    expect(ignored).toEqual([]);
  });

  it('drops a tied head and precomputed frequencies', () => {
    const frequencies = tensor('model.layers.0.self_attn.rotary_emb.inv_freq', 'F32', [8]);
    const head = tensor('lm_head.weight', 'BF16', [50, 64]);
    const tensors = [...tensorsFor(llama), frequencies, head];
    expect(buildModel({ config: llama, tensors }).ignored).toEqual([frequencies.name, head.name]);
  });

  it('unties gemma3 when the file has a head', () => {
    const tensors = [...tensorsFor(gemma3_text), tensor('lm_head.weight', 'BF16', [50, 64])];
    const { spec, sources } = buildModel({ config: gemma3_text, tensors });
    expect(spec.head.tied).toBe(false);
    expect(sources?.at(-1)?.parts[0]?.entry.name).toBe('lm_head.weight');
  });

  it('renames what newer wrappers write and leaves the vision side out', () => {
    const newer = (config: Config) =>
      tensorsFor(config).map((entry) => ({
        ...entry,
        name: entry.name
          .replace('language_model.model.', 'model.language_model.')
          .replace('language_model.lm_head', 'lm_head'),
      }));
    const vision = tensor('model.vision_tower.patch_conv.weight', 'BF16', [4, 4]);
    for (const config of [mistral3, gemma3]) {
      const { sources, ignored } = buildModel({ config, tensors: [...newer(config), vision] });
      expect(sources?.flatMap(({ parts }) => parts.map(({ entry }) => entry.name))).toEqual(
        newer(config).map(({ name }) => name),
      );
      expect(ignored).toEqual([vision.name]);
    }
  });
});

describe('storage', () => {
  it('follows from the scales that are there, whatever the config says', () => {
    const wanted: Record<string, ParameterStorage> = {
      'model.embed_tokens.weight': affine(4, 32),
      [`${q}.weight`]: affine(3, 64),
      [`${down}.weight`]: affine(6, 32),
      'model.layers.0.mlp.up_proj.weight': { kind: 'mxfp4' },
    };
    const tensors = tensorsFor(llama, (path) => wanted[path] ?? { kind: 'dense' });
    const config = { ...llama, quantization: { group_size: 64, bits: 4 } };
    const found = storages(config, tensors);
    expect(found['model.embed_tokens.weight']).toBe('affine 4 32');
    expect(found[`${q}.weight`]).toBe('affine 3 64');
    expect(found[`${q}.bias`]).toBe('dense');
    expect(found[`${down}.weight`]).toBe('affine 6 32');
    expect(found['model.layers.0.mlp.up_proj.weight']).toBe('mxfp4');
    expect(found['model.layers.0.mlp.gate_proj.weight']).toBe('dense');
    const parts = buildModel({ config, tensors }).sources?.[0]?.parts;
    expect(parts?.map(({ role, entry }) => [role, entry.name, entry.shape])).toEqual([
      ['weight', 'model.embed_tokens.weight', [50, 8]],
      ['scales', 'model.embed_tokens.scales', [50, 2]],
      ['biases', 'model.embed_tokens.biases', [50, 2]],
    ]);
  });

  it('is that of the GGUF tensors', () => {
    const tensors = tensorsFor(llama, () => ({ kind: 'block', format: 'Q8_0' }));
    const found = storages(llama, tensors);
    expect(found[`${q}.weight`]).toBe('block Q8_0');
    expect(found['model.norm.weight']).toBe('dense');
  });

  it('is planned from the config when no tensors are known', () => {
    const quantization = {
      group_size: 64,
      bits: 4,
      [q]: { group_size: 32, bits: 8 },
      'model.layers.0.self_attn.k_proj': false,
    };
    const { program } = buildModel({ config: { ...granite, quantization } });
    const byPath = new Map(program.parameters.map(({ path, storage }) => [path, storage]));
    expect(byPath.get('model.embed_tokens.weight')).toEqual(affine(4, 64));
    expect(byPath.get(`${q}.weight`)).toEqual(affine(8, 32));
    expect(byPath.get('model.layers.0.self_attn.k_proj.weight')).toEqual({ kind: 'dense' });
    expect(byPath.get(`${down}.weight`)).toEqual({ kind: 'dense' });
    expect(byPath.get('model.norm.weight')).toEqual({ kind: 'dense' });
  });
});

describe('tensors that do not fit are refused', () => {
  const without = (path: string) => tensorsFor(llama).filter(({ name }) => name !== path);
  const replaced = (entry: TensorEntry) => [...without(entry.name), entry];
  const quantized = tensorsFor(llama, (path) =>
    path === `${q}.weight` ? affine(4, 32) : { kind: 'dense' },
  );

  it.each<[string, readonly TensorEntry[], string]>([
    ['a missing one', without(`${q}.weight`), `parameter_missing: the files lack ${q}.weight`],
    [
      'none at all',
      [],
      'parameter_missing: the files lack model.embed_tokens.weight, model.layers.0.input',
    ],
    [
      'one too many',
      [...tensorsFor(llama), tensor('model.layers.1.x', 'F32', [1])],
      'parameter_unexpected: the files hold what a model of this config does not have: model',
    ],
    [
      'one twice',
      [...tensorsFor(llama), tensor('model.norm.weight', 'F32', [64])],
      'parameter_duplicate: the files hold model.norm.weight twice',
    ],
    [
      'a wrong shape',
      replaced(tensor('model.norm.weight', 'F32', [63])),
      'parameter_shape_mismatch: model.norm.weight has the shape [63], config.json asks for [64]',
    ],
    [
      'a wrong rank',
      replaced(tensor(`${q}.weight`, 'F32', [64, 64, 1])),
      'parameter_shape_mismatch: ',
    ],
    [
      'FP8',
      replaced(tensor(`${q}.weight`, 'F8_E4M3', [64, 64])),
      `parameter_format_unsupported: ${q}.weight holds F8_E4M3`,
    ],
    [
      'blocks for a norm',
      replaced(tensor('model.norm.weight', 'Q8_0', [64])),
      'parameter_format_unsupported: ',
    ],
    [
      'scales without biases',
      quantized.filter(({ name }) => name !== `${q}.biases`),
      `parameter_missing: the files lack ${q}.biases`,
    ],
    [
      'scales of no known group',
      quantized.map((entry) =>
        entry.name === `${q}.scales` ? { ...entry, shape: [64, 7] } : entry,
      ),
      'model_quantization_unsupported: ',
    ],
  ])('%s', (_, tensors, start) => {
    expect(refusal(llama, tensors).slice(0, start.length)).toBe(start);
  });

  it('where an entry of the config contradicts the shapes', () => {
    const config = {
      ...llama,
      quantization: { group_size: 32, bits: 4, [q]: { group_size: 64, bits: 4 } },
    };
    expect(refusal(config, quantized)).toMatch(/^parameter_shape_mismatch: .*q_proj\.scales/);
  });
});
