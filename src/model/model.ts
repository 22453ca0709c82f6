import { type BoundPart, bindTensors } from './bind-tensors.ts';
import type { Config } from './config.ts';
import { familyOf } from './families/index.ts';
import { lowerModel } from './lower.ts';
import type { TensorEntry } from './manifest.ts';
import { declareParameters, isMatrix, type ModelParameter } from './parameters.ts';
import type { ParameterStorage, Program } from './program.ts';
import { groupOf, type Quantization, readQuantization } from './quantization.ts';
import type { ModelSpec } from './spec.ts';
import { type ParameterPart, partOf, partShape } from './split/parts.ts';
import { planSplit, type SplitRequest, wholeSplit } from './split/plan.ts';
import { sliceBytes, sliceTensor, type TensorSlice } from './split/slices.ts';

/** A parameter of a rank's program. */
export interface RankParameter {
  /** mlx-lm's sanitized path. */
  readonly path: string;
  /** Of what the rank has. */
  readonly shape: readonly number[];
  /** Of the whole model. */
  readonly declared: ModelParameter;
  readonly part: ParameterPart;
}

/** Where a parameter's bytes lie: the tensors of its storage, and what the rank reads of each. */
export interface ParameterTensors {
  /** Index into the program's parameters. */
  readonly parameter: number;
  readonly parts: readonly (BoundPart & { readonly slice: TensorSlice })[];
}

/** A model or a rank's part of it: ready to be planned and, where its tensors are known, loaded. */
export interface Model {
  /** Of the whole model. */
  readonly spec: ModelSpec;
  /** In the order of the program's parameters. */
  readonly parameters: readonly RankParameter[];
  readonly program: Program;
  /** Null when the model was built from its config alone. */
  readonly sources: readonly ParameterTensors[] | null;
  /** Names in the files that the model does not need. */
  readonly ignored: readonly string[];
}

/**
 * Builds a model from its config.json and, where they are known, the tensors in its files (a
 * `ModelManifest` is such a source). Without tensors their storage is what config.json says: enough
 * for a plan before anything is downloaded.
 * @param options a rank's part of a split; `precise` splits give the bits of one rank.
 * @throws CideryError `model_unsupported`, `model_config_invalid`, and what `readQuantization`,
 *   `bindTensors` and `planSplit` throw.
 */
export function buildModel(
  source: { readonly config: Config; readonly tensors?: readonly TensorEntry[] },
  options: { readonly split?: SplitRequest; readonly precise: boolean } = { precise: true },
): Model {
  const { config, tensors } = source;
  const names = tensors === undefined ? null : tensors.map(({ name }) => name);
  const spec = familyOf(config)(config, names);
  const quantization = readQuantization(config);
  const declared = declareParameters(spec);
  const bound = tensors === undefined ? null : bindTensors(spec, declared, tensors, quantization);
  const storages =
    bound?.storages ?? declared.map((parameter) => plannedStorage(parameter, quantization));
  const storageByPath = new Map(declared.map(({ path }, index) => [path, storages[index]]));
  const storageOf = (path: string) => storageByPath.get(path) ?? dense;
  const plan = planSplit(spec, options.split ?? wholeSplit, options.precise, storageOf);
  const parameters: RankParameter[] = [];
  const sources: ParameterTensors[] = [];
  for (const [index, parameter] of declared.entries()) {
    const part = partOf(parameter, plan);
    if (part === null) continue;
    const parts = (bound?.sources[index] ?? []).map((tensor) => ({
      ...tensor,
      slice: sliceTensor(tensor.entry, parameter, part),
    }));
    sources.push({ parameter: parameters.length, parts });
    const { path, shape } = parameter;
    parameters.push({ path, shape: partShape(part, shape), declared: parameter, part });
  }
  const program = lowerModel(
    spec,
    parameters.map(({ path, shape }) => ({ path, shape, storage: storageOf(path) })),
    plan,
  );
  return {
    spec,
    parameters,
    program,
    sources: bound === null ? null : sources,
    ignored: bound?.ignored ?? [],
  };
}

/** Bytes that a rank reads from the model's files; 0 where its tensors are not known. */
export function weightFileBytes({ sources }: Model): number {
  const parts = sources?.flatMap((source) => source.parts) ?? [];
  return parts.reduce((sum, { slice }) => sum + sliceBytes(slice), 0);
}

const dense: ParameterStorage = { kind: 'dense' };

/** What mlx-lm's converter makes of a parameter under this config. */
function plannedStorage(
  parameter: ModelParameter,
  quantization: Quantization | null,
): ParameterStorage {
  if (quantization === null || !isMatrix(parameter)) return dense;
  const module = parameter.path.slice(0, -'.weight'.length);
  const storage = quantization.byModule.get(module) ?? quantization.storage;
  return (parameter.shape.at(-1) ?? 0) % groupOf(storage) === 0 ? storage : dense;
}
