import type { Config } from './config.ts';
import type {
  AttentionSpec,
  GatedSpec,
  HeadSpec,
  LayerNorms,
  ModelSpec,
  NormSpec,
  TensorNameRules,
} from './spec.ts';

/**
 * One architecture: reads a config.json into a spec, with mlx-lm's defaults.
 * @param tensorNames names in the model's files; null when only the config is known.
 * @throws CideryError `model_config_invalid`, and `model_unsupported` where a wrapper holds an
 *   unknown model.
 */
export type Family = (config: Config, tensorNames: readonly string[] | null) => ModelSpec;

/** Precomputed frequencies of old files; the program has its own. */
const plainNames: TensorNameRules = { drop: ['rotary_emb.inv_freq'], rename: [] };

const plainHead: HeadSpec = { tied: true, scale: 1, softcap: 0 };

/** What most decoders have in common; a family gives the rest. */
export function decoderSpec(
  particular: Omit<ModelSpec, 'prefix' | 'tensorNames' | 'embedScale' | 'head'> & {
    readonly embedScale?: number;
    readonly head?: Partial<HeadSpec>;
  },
): ModelSpec {
  return {
    ...particular,
    prefix: '',
    embedScale: particular.embedScale ?? 1,
    head: { ...plainHead, ...particular.head },
    tensorNames: plainNames,
  };
}

/**
 * Attention over separate projections without biases, norms, caps or windows, unless the family
 * says otherwise.
 */
export function attentionSpec(
  particular: Pick<AttentionSpec, 'heads' | 'keyHeads' | 'headWidth' | 'rope'> &
    Partial<AttentionSpec>,
): AttentionSpec {
  return {
    kind: 'attention',
    scale: particular.headWidth ** -0.5,
    softcap: 0,
    window: 0,
    headNorm: 'none',
    projections: 'separate',
    inputBias: false,
    outputBias: false,
    queryScale: null,
    ...particular,
  };
}

/** SwiGLU over separate projections without biases, unless the family says otherwise. */
export function gatedSpec(particular: Pick<GatedSpec, 'inner'> & Partial<GatedSpec>): GatedSpec {
  return {
    kind: 'gated',
    activation: 'silu',
    projections: 'separate',
    bias: false,
    ...particular,
  };
}

export function rmsNorm(epsilon: number, weightOffset: 0 | 1 = 0): NormSpec {
  return { kind: 'rms', epsilon, weightOffset, bias: false };
}

/** A norm before attention and one before the MLP, under llama's names. */
export const preNorms: LayerNorms = {
  arrangement: 'pre',
  beforeMixer: 'input_layernorm',
  beforeFeedForward: 'post_attention_layernorm',
};

/** gemma's four norms. */
export const gemmaNorms: LayerNorms = {
  arrangement: 'sandwich',
  beforeMixer: 'input_layernorm',
  afterMixer: 'post_attention_layernorm',
  beforeFeedForward: 'pre_feedforward_layernorm',
  afterFeedForward: 'post_feedforward_layernorm',
};

/**
 * A language model inside a vision wrapper. Files name it `language_model.model.` or, since
 * transformers 4.52, `model.language_model.` with `lm_head` outside; the vision side is left out.
 */
export function wrappedSpec(inner: ModelSpec): ModelSpec {
  return {
    ...inner,
    prefix: 'language_model.',
    tensorNames: {
      drop: [...inner.tensorNames.drop, 'vision_tower', 'multi_modal_projector'],
      rename: [
        { from: 'model.language_model.', to: 'language_model.model.' },
        { from: 'language_model.', to: 'language_model.' },
        { from: '', to: 'language_model.' },
      ],
    },
  };
}
