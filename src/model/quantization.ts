import { z } from 'zod';
import { CideryError } from '../base/error.ts';
import { type Config, configInvalid, readConfig } from './config.ts';
import type { TensorEntry } from './manifest.ts';
import type { ParameterStorage } from './program.ts';

/** What config.json says about quantization, in mlx-lm's form. */
export interface Quantization {
  /** Of every matrix that no entry names and whose width its groups divide. */
  readonly storage: ParameterStorage;
  /** By the path of a module, such as `model.layers.0.mlp.down_proj`. */
  readonly byModule: ReadonlyMap<string, ParameterStorage>;
}

const affineBits = [2, 3, 4, 5, 6, 8];
const affineGroups = [32, 64, 128];
const dense: ParameterStorage = { kind: 'dense' };

const entrySchema = z.looseObject({
  mode: z.string().nullish(),
  bits: z.int().nullish(),
  group_size: z.int().nullish(),
});

/**
 * Reads `quantization`, or `quantization_config` where mlx-lm wrote only that; null when the model
 * is not quantized.
 * @throws CideryError `model_quantization_unsupported` for what other tools wrote (GPTQ, AWQ, FP8
 *   …) and for modes that no executor has; `model_config_invalid`.
 */
export function readQuantization(config: Config): Quantization | null {
  const key = config['quantization'] ? 'quantization' : 'quantization_config';
  const value = config[key];
  if (value === undefined || value === null || value === false) return null;
  const fields = readConfig(z.record(z.string(), z.unknown()), value, [key]);
  const method = fields['quant_method'];
  if (key === 'quantization_config' && typeof method === 'string' && method !== 'mxfp4') {
    throw unsupported(`weights quantized by '${method.slice(0, 40)}' are not supported`);
  }
  const storage =
    method === 'mxfp4' && fields['bits'] === undefined
      ? { kind: 'mxfp4' as const }
      : readStorage(fields, key);
  const byModule = new Map<string, ParameterStorage>();
  for (const [path, entry] of Object.entries(fields)) {
    if (entry === false) byModule.set(path, dense);
    else if (typeof entry === 'object' && entry !== null && !Array.isArray(entry)) {
      byModule.set(path, readStorage(entry, `${key}.${path}`));
    }
  }
  return { storage, byModule };
}

function readStorage(fields: unknown, at: string): ParameterStorage {
  const { mode, bits, group_size: group } = readConfig(entrySchema, fields, [at]);
  if (mode === 'mxfp4') return { kind: 'mxfp4' };
  if (mode !== undefined && mode !== null && mode !== 'affine') {
    throw unsupported(`the quantization mode '${mode.slice(0, 40)}' is not supported`);
  }
  if (!affineBits.includes(bits ?? 0)) {
    throw configInvalid(
      `${at}.bits`,
      `is ${bits ?? 'missing'}, not one of ${affineBits.join(', ')}`,
    );
  }
  if (!affineGroups.includes(group ?? 0)) {
    const problem = `is ${group ?? 'missing'}, not one of ${affineGroups.join(', ')}`;
    throw configInvalid(`${at}.group_size`, problem);
  }
  return { kind: 'affine', bits: bits ?? 0, group: group ?? 0 };
}

/** Columns that cannot be taken apart, as they share a scale; 1 where none do. */
export function groupOf(storage: ParameterStorage): number {
  if (storage.kind === 'affine') return storage.group;
  if (storage.kind === 'block') return storage.format.endsWith('_K') ? 256 : 32;
  return storage.kind === 'mxfp4' ? 32 : 1;
}

/**
 * Storage of a matrix [out, inWidth] from the shapes of its packed words and its scales, as mlx-lm
 * infers it.
 * @throws CideryError `model_quantization_unsupported` where they fit no storage.
 */
export function inferStorage(
  inWidth: number,
  weight: TensorEntry,
  scales: TensorEntry,
): ParameterStorage {
  const bits = ((weight.shape.at(-1) ?? 0) * 32) / inWidth;
  const group = inWidth / (scales.shape.at(-1) ?? 0);
  if (scales.format === 'U8') {
    if (bits === 4 && group === 32) return { kind: 'mxfp4' };
  } else if (affineBits.includes(bits) && affineGroups.includes(group)) {
    return { kind: 'affine', bits, group };
  }
  throw unsupported(
    `${weight.name} [${weight.shape.join(', ')}] with scales [${scales.shape.join(', ')}] ` +
      `for a width of ${inWidth} fits no known quantization`,
  );
}

function unsupported(message: string): CideryError {
  return new CideryError('model_quantization_unsupported', message, {
    hint: 'use the plain model, a GGUF file, or one that mlx-lm quantized in affine mode',
  });
}
