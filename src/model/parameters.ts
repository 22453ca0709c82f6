import type {
  AttentionSpec,
  FeedForwardSpec,
  LayerNorms,
  LayerSpec,
  ModelSpec,
  NormSpec,
} from './spec.ts';

/** What a side of a parameter runs along: a split gives each rank a part of it. */
export type Axis = 'vocabulary' | 'queries' | 'keys' | 'values' | 'inner';

/** How a parameter is divided among the ranks that share its layer. */
export type ParameterSplit =
  | { readonly kind: 'replicated' }
  /**
   * By what the matrix puts out (its first dimension); sections that lie below each other are
   * divided each.
   */
  | { readonly kind: 'columns'; readonly sections: readonly SplitSection[] }
  /**
   * By what the matrix takes in (its last dimension), each rank's product being a part of a sum, or
   * by the hidden state that it puts out: as the layer joins (`JoinKind`). A bias of such a matrix
   * is added once.
   */
  | { readonly kind: 'rows'; readonly axis: 'queries' | 'inner' };

interface SplitSection {
  readonly size: number;
  readonly axis: Axis;
}

/** Declared once: what is read, checked, planned, split and saved follows from it. */
export interface ModelParameter {
  /** mlx-lm's sanitized path. */
  readonly path: string;
  /** Logical, outermost first; a matrix is [out, in]. */
  readonly shape: readonly number[];
  readonly role: 'embedding' | 'head' | 'projection' | 'bias' | 'norm';
  /** The layer that it belongs to; null: none. */
  readonly layer: number | null;
  readonly split: ParameterSplit;
}

/** A matrix that may be quantized; its module is the path without `.weight`. */
export function isMatrix(parameter: ModelParameter): boolean {
  return parameter.role !== 'bias' && parameter.role !== 'norm';
}

const replicated: ParameterSplit = { kind: 'replicated' };

/** A parameter, before its layer is known. */
type Declared = Omit<ModelParameter, 'layer'>;

/** Every parameter of a model, in the order in which a step uses them. */
export function declareParameters(spec: ModelSpec): ModelParameter[] {
  const { prefix, vocabulary, width } = spec;
  const shared = {
    shape: [vocabulary, width],
    split: { kind: 'columns', sections: [{ size: vocabulary, axis: 'vocabulary' }] },
  } satisfies Pick<Declared, 'shape' | 'split'>;
  const embedding: Declared = {
    path: `${prefix}model.embed_tokens.weight`,
    role: 'embedding',
    ...shared,
  };
  const head: Declared = { path: `${prefix}lm_head.weight`, role: 'head', ...shared };
  const outside = (parameter: Declared): ModelParameter => ({ ...parameter, layer: null });
  return [
    outside(embedding),
    ...spec.layers.flatMap((layer, index) =>
      layerParameters(spec, layer, layerPath(spec, index)).map((parameter) => ({
        ...parameter,
        layer: index,
      })),
    ),
    ...normParameters(`${prefix}model.norm`, spec.finalNorm, width).map(outside),
    ...(spec.head.tied ? [] : [outside(head)]),
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

function layerParameters(spec: ModelSpec, layer: LayerSpec, path: string): Declared[] {
  return [
    ...normNames(layer.norms).flatMap((name) =>
      normParameters(`${path}.${name}`, layer.norm, spec.width),
    ),
    ...attentionParameters(spec.width, layer.mixer, `${path}.self_attn`),
    ...feedForwardParameters(spec.width, layer.feedForward, `${path}.mlp`),
  ];
}

function normParameters(module: string, norm: NormSpec, width: number): Declared[] {
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
): Declared[] {
  const weight: Declared = {
    path: `${module}.weight`,
    shape: [size.out, size.in],
    role: 'projection',
    split,
  };
  if (!bias) return [weight];
  return [weight, { path: `${module}.bias`, shape: [size.out], role: 'bias', split }];
}

/** Widths of q, k (and v) as one token has them. */
export function attentionWidths(mixer: AttentionSpec): { query: number; key: number } {
  return { query: mixer.heads * mixer.headWidth, key: mixer.keyHeads * mixer.headWidth };
}

function attentionParameters(width: number, mixer: AttentionSpec, module: string): Declared[] {
  const { query, key } = attentionWidths(mixer);
  const queries = { size: query, axis: 'queries' } as const;
  const keys = { size: key, axis: 'keys' } as const;
  const values = { size: key, axis: 'values' } as const;
  const columns = (name: string, sections: readonly SplitSection[]) => {
    const out = sections.reduce((sum, section) => sum + section.size, 0);
    const size = { out, in: width };
    return matrix(`${module}.${name}`, size, mixer.inputBias, { kind: 'columns', sections });
  };
  const inputs =
    mixer.projections === 'fused'
      ? columns('qkv_proj', [queries, keys, values])
      : [
          ...columns('q_proj', [queries]),
          ...columns('k_proj', [keys]),
          ...columns('v_proj', [values]),
        ];
  return [
    ...inputs,
    ...headNormParameters(mixer, module),
    ...matrix(`${module}.o_proj`, { out: width, in: query }, mixer.outputBias, {
      kind: 'rows',
      axis: 'queries',
    }),
  ];
}

function headNormParameters(mixer: AttentionSpec, module: string): Declared[] {
  if (mixer.headNorm === 'none') return [];
  const { query, key } = attentionWidths(mixer);
  const overHead = mixer.headNorm === 'head';
  const norm = (name: string, size: number): Declared => ({
    path: `${module}.${name}.weight`,
    shape: [overHead ? mixer.headWidth : size],
    role: 'norm',
    // Over a width it is applied to the whole, which every rank gathers.
    split: replicated,
  });
  return [norm('q_norm', query), norm('k_norm', key)];
}

function feedForwardParameters(width: number, spec: FeedForwardSpec, module: string): Declared[] {
  const half = { size: spec.inner, axis: 'inner' } as const;
  const columns = (name: string, sections: readonly SplitSection[]) => {
    const size = { out: sections.length * spec.inner, in: width };
    return matrix(`${module}.${name}`, size, spec.bias, { kind: 'columns', sections });
  };
  const inputs =
    spec.projections === 'fused'
      ? columns('gate_up_proj', [half, half])
      : [...columns('gate_proj', [half]), ...columns('up_proj', [half])];
  const down = { out: width, in: spec.inner };
  const split = { kind: 'rows', axis: 'inner' } as const;
  return [...inputs, ...matrix(`${module}.down_proj`, down, spec.bias, split)];
}
