import type {
  AttentionSpec,
  FeedForwardSpec,
  LayerNorms,
  LayerSpec,
  ModelSpec,
  NormSpec,
} from './spec.ts';

/**
 * How a parameter may be divided among ranks. A unit is what stays together, in columns of the
 * activation; where the storage has groups along the divided side, the least common multiple with
 * the group counts.
 */
type ParameterSplit =
  | { readonly kind: 'replicated' }
  /**
   * By what the matrix puts out (its first dimension); sections that lie below each other are
   * divided each.
   */
  | { readonly kind: 'columns'; readonly sections: readonly SplitSection[] }
  /** By what the matrix takes in (its last dimension); each rank's product is a part of the sum. */
  | { readonly kind: 'rows'; readonly unit: number };

interface SplitSection {
  readonly size: number;
  readonly unit: number;
}

/** Declared once: what is read, checked, planned, split and saved follows from it. */
export interface ModelParameter {
  /** mlx-lm's sanitized path. */
  readonly path: string;
  /** Logical, outermost first; a matrix is [out, in]. */
  readonly shape: readonly number[];
  readonly role: 'embedding' | 'head' | 'projection' | 'bias' | 'norm';
  readonly split: ParameterSplit;
}

/** A matrix that may be quantized; its module is the path without `.weight`. */
export function isMatrix(parameter: ModelParameter): boolean {
  return parameter.role !== 'bias' && parameter.role !== 'norm';
}

const replicated: ParameterSplit = { kind: 'replicated' };

/** Every parameter of a model, in the order in which a step uses them. */
export function declareParameters(spec: ModelSpec): ModelParameter[] {
  const { prefix, vocabulary, width } = spec;
  const embedding: ModelParameter = {
    path: `${prefix}model.embed_tokens.weight`,
    shape: [vocabulary, width],
    role: 'embedding',
    split: replicated,
  };
  const head: ModelParameter = {
    path: `${prefix}lm_head.weight`,
    shape: [vocabulary, width],
    role: 'head',
    split: { kind: 'columns', sections: [{ size: vocabulary, unit: 1 }] },
  };
  return [
    embedding,
    ...spec.layers.flatMap((layer, index) => layerParameters(spec, layer, layerPath(spec, index))),
    ...normParameters(`${prefix}model.norm`, spec.finalNorm, width),
    ...(spec.head.tied ? [] : [head]),
  ];
}

export function layerPath(spec: ModelSpec, index: number): string {
  return `${spec.prefix}model.layers.${index}`;
}

/** Names of a layer's norms, in the order in which they are applied. */
function normNames(norms: LayerNorms): string[] {
  if (norms.arrangement === 'pre') return [norms.beforeMixer, norms.beforeFeedForward];
  if (norms.arrangement === 'sandwich') {
    return [norms.beforeMixer, norms.afterMixer, norms.beforeFeedForward, norms.afterFeedForward];
  }
  if (norms.arrangement === 'post') return [norms.afterMixer, norms.afterFeedForward];
  return [norms.before];
}

function layerParameters(spec: ModelSpec, layer: LayerSpec, path: string): ModelParameter[] {
  return [
    ...normNames(layer.norms).flatMap((name) =>
      normParameters(`${path}.${name}`, layer.norm, spec.width),
    ),
    ...attentionParameters(spec.width, layer.mixer, `${path}.self_attn`),
    ...feedForwardParameters(spec.width, layer.feedForward, `${path}.mlp`),
  ];
}

function normParameters(module: string, norm: NormSpec, width: number): ModelParameter[] {
  const shared = { shape: [width], role: 'norm', split: replicated } as const;
  const weight = { path: `${module}.weight`, ...shared };
  return norm.bias ? [weight, { path: `${module}.bias`, ...shared }] : [weight];
}

interface MatrixSize {
  readonly out: number;
  readonly in: number;
}

function matrix(
  module: string,
  size: MatrixSize,
  bias: boolean,
  split: ParameterSplit,
): ModelParameter[] {
  const weight: ModelParameter = {
    path: `${module}.weight`,
    shape: [size.out, size.in],
    role: 'projection',
    split,
  };
  if (!bias) return [weight];
  // What is added to a sum of parts is added once, so it is not divided.
  const biasSplit = split.kind === 'columns' ? split : replicated;
  return [weight, { path: `${module}.bias`, shape: [size.out], role: 'bias', split: biasSplit }];
}

/** Widths of q, k (and v) as one token has them. */
export function attentionWidths(mixer: AttentionSpec): { query: number; key: number } {
  return { query: mixer.heads * mixer.headWidth, key: mixer.keyHeads * mixer.headWidth };
}

function attentionParameters(
  width: number,
  mixer: AttentionSpec,
  module: string,
): ModelParameter[] {
  const { query, key } = attentionWidths(mixer);
  // A key head stays with the queries that share it.
  const queries = { size: query, unit: query / mixer.keyHeads };
  const keys = { size: key, unit: mixer.headWidth };
  const columns = (name: string, sections: readonly SplitSection[]) => {
    const out = sections.reduce((sum, section) => sum + section.size, 0);
    const size = { out, in: width };
    return matrix(`${module}.${name}`, size, mixer.inputBias, { kind: 'columns', sections });
  };
  const inputs =
    mixer.projections === 'fused'
      ? columns('qkv_proj', [queries, keys, keys])
      : [
          ...columns('q_proj', [queries]),
          ...columns('k_proj', [keys]),
          ...columns('v_proj', [keys]),
        ];
  return [
    ...inputs,
    ...headNormParameters(mixer, module),
    ...matrix(`${module}.o_proj`, { out: width, in: query }, mixer.outputBias, {
      kind: 'rows',
      unit: queries.unit,
    }),
  ];
}

function headNormParameters(mixer: AttentionSpec, module: string): ModelParameter[] {
  if (mixer.headNorm === 'none') return [];
  const { query, key } = attentionWidths(mixer);
  const overHead = mixer.headNorm === 'head';
  const norm = (name: string, size: number, unit: number): ModelParameter => ({
    path: `${module}.${name}.weight`,
    shape: [overHead ? mixer.headWidth : size],
    role: 'norm',
    split: overHead ? replicated : { kind: 'columns', sections: [{ size, unit }] },
  });
  return [norm('q_norm', query, query / mixer.keyHeads), norm('k_norm', key, mixer.headWidth)];
}

function feedForwardParameters(
  width: number,
  spec: FeedForwardSpec,
  module: string,
): ModelParameter[] {
  const half = { size: spec.inner, unit: 1 };
  const columns = (name: string, sections: readonly SplitSection[]) => {
    const size = { out: sections.length * spec.inner, in: width };
    return matrix(`${module}.${name}`, size, spec.bias, { kind: 'columns', sections });
  };
  const inputs =
    spec.projections === 'fused'
      ? columns('gate_up_proj', [half, half])
      : [...columns('gate_proj', [half]), ...columns('up_proj', [half])];
  const down = { out: width, in: spec.inner };
  return [...inputs, ...matrix(`${module}.down_proj`, down, spec.bias, { kind: 'rows', unit: 1 })];
}
