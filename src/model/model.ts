import { bindTensors, type ParameterTensors } from './bind-tensors.ts';
import type { Config } from './config.ts';
import { familyOf } from './families/index.ts';
import { lowerModel } from './lower.ts';
import type { TensorEntry } from './manifest.ts';
import { declareParameters, isMatrix, type ModelParameter } from './parameters.ts';
import type { ParameterStorage, Program } from './program.ts';
import { groupOf, type Quantization, readQuantization } from './quantization.ts';
import type { ModelSpec } from './spec.ts';

/** A model ready to be planned, and, where its tensors are known, to be loaded. */
export interface Model {
  readonly spec: ModelSpec;
  /** In the order of the program's parameters. */
  readonly parameters: readonly ModelParameter[];
  readonly program: Program;
  /** Where each parameter lies; null when the model was built from its config alone. */
  readonly sources: readonly ParameterTensors[] | null;
  /** Names in the files that the model does not need. */
  readonly ignored: readonly string[];
}

/**
 * Builds a model from its config.json and, where they are known, the tensors in its files (a
 * `ModelManifest` is such a source). Without tensors their storage is what config.json says: enough
 * for a plan before anything is downloaded.
 * @throws CideryError `model_unsupported`, `model_config_invalid`, and what `readQuantization` and
 *   `bindTensors` throw.
 */
export function buildModel(source: {
  readonly config: Config;
  readonly tensors?: readonly TensorEntry[];
}): Model {
  const { config, tensors } = source;
  const names = tensors === undefined ? null : tensors.map(({ name }) => name);
  const spec = familyOf(config)(config, names);
  const quantization = readQuantization(config);
  const parameters = declareParameters(spec);
  const bound = tensors === undefined ? null : bindTensors(spec, parameters, tensors, quantization);
  const storages =
    bound?.storages ?? parameters.map((parameter) => plannedStorage(parameter, quantization));
  const program = lowerModel(
    spec,
    parameters.map(({ path, shape }, index) => ({
      path,
      shape,
      storage: storages[index] ?? { kind: 'dense' },
    })),
  );
  return {
    spec,
    parameters,
    program,
    sources: bound?.sources ?? null,
    ignored: bound?.ignored ?? [],
  };
}

/** What mlx-lm's converter makes of a parameter under this config. */
function plannedStorage(
  parameter: ModelParameter,
  quantization: Quantization | null,
): ParameterStorage {
  const dense: ParameterStorage = { kind: 'dense' };
  if (quantization === null || !isMatrix(parameter)) return dense;
  const module = parameter.path.slice(0, -'.weight'.length);
  const storage = quantization.byModule.get(module) ?? quantization.storage;
  return (parameter.shape.at(-1) ?? 0) % groupOf(storage) === 0 ? storage : dense;
}
