import { CideryError } from '../base/error.ts';
import { limits } from '../base/limits.ts';
import { blockFormats, type TensorEntry } from './manifest.ts';
import { isMatrix, type ModelParameter } from './parameters.ts';
import type { ParameterStorage } from './program.ts';
import { groupOf, inferStorage, type Quantization } from './quantization.ts';
import type { ModelSpec } from './spec.ts';

/**
 * One tensor of a parameter: the values, or the packed words with their scales and (affine) biases.
 */
export interface BoundPart {
  readonly role: 'weight' | 'scales' | 'biases';
  readonly entry: TensorEntry;
}

export interface BoundTensors {
  /** One for each parameter, in their order. */
  readonly storages: readonly ParameterStorage[];
  readonly sources: readonly (readonly BoundPart[])[];
  /** Names in the files that the model does not need. */
  readonly ignored: readonly string[];
}

/**
 * Finds the tensors of every parameter, after the family's renaming, and decides how each parameter
 * is stored: by an entry of config.json for its module, else by whether its scales are there, as
 * mlx-lm does.
 * @throws CideryError `parameter_missing`, `parameter_unexpected` (left over),
 *   `parameter_duplicate`, `parameter_shape_mismatch`, `parameter_format_unsupported`,
 *   `model_quantization_unsupported`.
 */
export function bindTensors(
  spec: ModelSpec,
  parameters: readonly ModelParameter[],
  tensors: readonly TensorEntry[],
  quantization: Quantization | null,
): BoundTensors {
  const { byPath, ignored } = renameTensors(spec, tensors);
  const left = new Map(byPath);
  const missing: string[] = [];
  const storages: ParameterStorage[] = [];
  const sources: BoundTensors['sources'][number][] = [];
  for (const parameter of parameters) {
    const weight = byPath.get(parameter.path);
    if (weight === undefined) {
      missing.push(parameter.path);
      continue;
    }
    const storage = storageOf(parameter, weight, byPath, quantization);
    const parts = partsOf(parameter, storage, byPath, missing);
    for (const { path } of parts) left.delete(path);
    storages.push(storage);
    sources.push(parts.map(({ role, entry }) => ({ role, entry })));
  }
  if (missing.length > 0) throw missingError(missing);
  if (left.size > 0) throw unexpectedError([...left.values()].map((entry) => entry.name));
  return { storages, sources, ignored };
}

/**
 * Path without `.weight`: what quantization entries name, and what `.scales` and `.biases` follow.
 */
function moduleOf(parameter: ModelParameter): string {
  return parameter.path.slice(0, parameter.path.lastIndexOf('.'));
}

function renameTensors(spec: ModelSpec, tensors: readonly TensorEntry[]) {
  const byPath = new Map<string, TensorEntry>();
  const ignored: string[] = [];
  const { drop, rename } = spec.tensorNames;
  const tiedHead = spec.head.tied ? `${spec.prefix}lm_head.` : null;
  for (const entry of tensors) {
    const rule = rename.find(({ from }) => entry.name.startsWith(from));
    const path = rule ? rule.to + entry.name.slice(rule.from.length) : entry.name;
    const unneeded = drop.some((part) => entry.name.includes(part));
    if (unneeded || (tiedHead !== null && path.startsWith(tiedHead))) {
      ignored.push(entry.name);
    } else if (byPath.has(path)) {
      throw new CideryError('parameter_duplicate', `the files hold ${path} twice`, {
        hint: 'the folder may mix the files of two models; remove it and pull the model again',
      });
    } else byPath.set(path, entry);
  }
  return { byPath, ignored };
}

function storageOf(
  parameter: ModelParameter,
  weight: TensorEntry,
  byPath: ReadonlyMap<string, TensorEntry>,
  quantization: Quantization | null,
): ParameterStorage {
  if (!isMatrix(parameter)) return { kind: 'dense' };
  if (isBlock(weight)) return { kind: 'block', format: weight.format };
  const module = moduleOf(parameter);
  const entry = quantization?.byModule.get(module);
  if (entry !== undefined) return entry;
  const scales = byPath.get(`${module}.scales`);
  if (scales === undefined) return { kind: 'dense' };
  return inferStorage(parameter.shape.at(-1) ?? 0, weight, scales);
}

function isBlock(entry: TensorEntry): boolean {
  return (blockFormats as readonly string[]).includes(entry.format);
}

const floatFormats = ['F32', 'F16', 'BF16'];

/** Shapes and formats that the parts of a parameter must have. */
function expectedParts(parameter: ModelParameter, storage: ParameterStorage) {
  const { shape } = parameter;
  const rows = shape.slice(0, -1);
  const columns = shape.at(-1) ?? 0;
  const weight = { role: 'weight' as const, path: parameter.path };
  if (storage.kind === 'block') return [{ ...weight, shape, formats: [storage.format] }];
  if (storage.kind === 'dense') return [{ ...weight, shape, formats: floatFormats }];
  const bits = storage.kind === 'affine' ? storage.bits : 4;
  const module = moduleOf(parameter);
  const groups = [...rows, columns / groupOf(storage)];
  const words = { ...weight, shape: [...rows, (columns * bits) / 32], formats: ['U32'] };
  const scales = { role: 'scales' as const, path: `${module}.scales`, shape: groups };
  if (storage.kind === 'mxfp4') return [words, { ...scales, formats: ['U8'] }];
  const biases = { role: 'biases' as const, path: `${module}.biases`, shape: groups };
  return [words, { ...scales, formats: floatFormats }, { ...biases, formats: floatFormats }];
}

function partsOf(
  parameter: ModelParameter,
  storage: ParameterStorage,
  byPath: ReadonlyMap<string, TensorEntry>,
  missing: string[],
) {
  return expectedParts(parameter, storage).flatMap(({ role, path, shape, formats }) => {
    const entry = byPath.get(path);
    if (entry === undefined) {
      missing.push(path);
      return [];
    }
    if (!formats.includes(entry.format)) {
      throw new CideryError(
        'parameter_format_unsupported',
        `${entry.name} holds ${entry.format} where ${formats.join(', ')} can be used`,
        { hint: 'use the model in bf16 or f16, or quantized by mlx-lm, or as a GGUF file' },
      );
    }
    if (entry.shape.length !== shape.length || entry.shape.some((size, i) => size !== shape[i])) {
      throw new CideryError(
        'parameter_shape_mismatch',
        `${entry.name} has the shape [${entry.shape.join(', ')}], ` +
          `config.json asks for [${shape.join(', ')}]`,
        { hint: 'config.json and the weights are of different models, or one is damaged' },
      );
    }
    return [{ role, path, entry }];
  });
}

function missingError(paths: readonly string[]): CideryError {
  return new CideryError('parameter_missing', `the files lack ${listed(paths)}`, {
    hint: 'a file of the model may be missing: pull it again',
  });
}

function unexpectedError(names: readonly string[]): CideryError {
  const message = `the files hold what a model of this config does not have: ${listed(names)}`;
  return new CideryError('parameter_unexpected', message, {
    hint: 'config.json may be of another model, or the model has parts that cidery does not know',
  });
}

function listed(names: readonly string[]): string {
  const shown = names.slice(0, limits.modelErrorNames).join(', ');
  const rest = names.length - limits.modelErrorNames;
  return rest > 0 ? `${shown} and ${rest} more` : shown;
}
