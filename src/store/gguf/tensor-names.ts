import type { TensorEntry, TensorTransform } from '../../model/manifest.ts';
import { brokenFile, unsupportedModel } from '../model-file-error.ts';
import type { GgufArchitecture } from './architectures.ts';
import type { GgufTensor } from './reader.ts';

/** Head counts and depth, which names and transforms depend on. */
export interface GgufDimensions {
  readonly layers: number;
  readonly heads: number;
  readonly keyValueHeads: number;
}

const outerNames: Readonly<Record<string, string>> = {
  token_embd: 'model.embed_tokens',
  output_norm: 'model.norm',
  output: 'lm_head',
};

/**
 * Tables from which rope is made, read into the config instead; the second is left over from old
 * files.
 */
const ropeTables =
  /^(?:rope_freqs|rope_factors_long|rope_factors_short|blk\.\d+\.attn_rot_embd)\.weight$/;

/**
 * A tensor of a GGUF file as an entry of the manifest: with Hugging Face's name, its block format
 * kept, and what must be undone of llama.cpp's changes. Null for rope tables, which are no
 * parameters.
 *
 * @throws CideryError `model_unsupported` for a type or a name that the family does not have
 * here.
 */
export function ggufTensorEntry(
  tensor: GgufTensor,
  file: number,
  architecture: GgufArchitecture,
  dimensions: GgufDimensions,
  fileName: string,
): TensorEntry | null {
  if (ropeTables.test(tensor.name)) return null;
  const place = placeOf(tensor.name, architecture, dimensions, fileName);
  const format = tensor.type.format;
  if (format === null) {
    throw unsupportedModel(
      `${fileName} holds tensor "${tensor.name}" as ${tensor.type.name}, which cannot be run`,
      'choose another quantization of the model, such as Q4_K_M or Q8_0',
    );
  }
  return {
    name: `${place.module}.${place.parameter}`,
    format,
    shape: tensor.shape,
    file,
    offset: tensor.offset,
    byteLength: tensor.byteLength,
    transforms: transformsOf(tensor, place, architecture, dimensions, fileName),
  };
}

interface Place {
  /** Hugging Face's name of the module. */
  readonly module: string;
  readonly parameter: 'weight' | 'bias';
  /** ggml's name of the module within its layer, or of the outer module. */
  readonly key: string;
}

function placeOf(
  name: string,
  architecture: GgufArchitecture,
  dimensions: GgufDimensions,
  fileName: string,
): Place {
  const match = /^(?:blk\.(?<layer>\d+)\.)?(?<key>\w+)\.(?<parameter>weight|bias)$/.exec(name);
  const { layer, key = '', parameter } = match?.groups ?? {};
  const names = layer === undefined ? outerNames : architecture.layerNames;
  const module = Object.hasOwn(names, key) ? names[key] : undefined;
  if (module === undefined || (layer !== undefined && Number(layer) >= dimensions.layers)) {
    throw unsupportedModel(
      `${fileName} holds tensor "${name}", which models of type ${architecture.modelType} ` +
        'do not have here',
    );
  }
  return {
    module: layer === undefined ? module : `model.layers.${Number(layer)}.${module}`,
    parameter: parameter === 'bias' ? 'bias' : 'weight',
    key,
  };
}

function transformsOf(
  tensor: GgufTensor,
  place: Place,
  architecture: GgufArchitecture,
  dimensions: GgufDimensions,
  fileName: string,
): TensorTransform[] {
  if (architecture.shiftsNorms && place.key.endsWith('norm') && place.parameter === 'weight') {
    return [{ kind: 'add', value: -1 }];
  }
  if (!architecture.permutesRope || (place.key !== 'attn_q' && place.key !== 'attn_k')) return [];
  const heads = place.key === 'attn_q' ? dimensions.heads : dimensions.keyValueHeads;
  const rows = tensor.shape[0] ?? 0;
  if (rows % (2 * heads) !== 0) {
    throw brokenFile(
      fileName,
      `the ${rows} rows of tensor "${tensor.name}" cannot be shared out to ${heads} heads`,
    );
  }
  return [{ kind: 'unpermuteRope', heads }];
}
