import type { ActivationKind } from './operations.ts';
import type { ProgramRope } from './program.ts';

/**
 * A model as cidery understands it: everything that config.json says about the arithmetic, in one
 * form for all families. Parameters (`parameters.ts`) and the program (`lower.ts`) follow from it.
 */
export interface ModelSpec {
  /** mlx-lm's name of the architecture, such as `llama` for a mistral model. */
  readonly family: string;
  /** Before `model.` and `lm_head.` in every path: empty, or `language_model.` inside a wrapper. */
  readonly prefix: string;
  readonly vocabulary: number;
  /** Of the hidden states. */
  readonly width: number;
  readonly contextLength: number;
  /** Multiplies the embeddings. */
  readonly embedScale: number;
  readonly layers: readonly LayerSpec[];
  readonly finalNorm: NormSpec;
  readonly head: HeadSpec;
  readonly tensorNames: TensorNameRules;
}

export interface NormSpec {
  readonly kind: 'rms' | 'layer';
  readonly epsilon: number;
  /** 1 where the file holds the weight minus one (gemma). */
  readonly weightOffset: 0 | 1;
  readonly bias: boolean;
}

/** Where a layer's norms stand, and what the file calls each (`NAME.weight` under the layer). */
export type LayerNorms =
  /** h += mixer(norm(h)); h += feedForward(norm(h)) */
  | {
      readonly arrangement: 'pre';
      readonly beforeMixer: string;
      readonly beforeFeedForward: string;
    }
  /** h += norm(mixer(norm(h))); h += norm(feedForward(norm(h))) */
  | {
      readonly arrangement: 'sandwich';
      readonly beforeMixer: string;
      readonly afterMixer: string;
      readonly beforeFeedForward: string;
      readonly afterFeedForward: string;
    }
  /** h += norm(mixer(h)); h += norm(feedForward(h)) */
  | { readonly arrangement: 'post'; readonly afterMixer: string; readonly afterFeedForward: string }
  /** n = norm(h); h += mixer(n) + feedForward(n) */
  | { readonly arrangement: 'parallel'; readonly before: string };

export interface LayerSpec {
  readonly norms: LayerNorms;
  readonly norm: NormSpec;
  readonly mixer: MixerSpec;
  readonly feedForward: FeedForwardSpec;
  /** Multiplies what mixer and feed-forward add to the hidden state. */
  readonly residualScale: number;
}

/** What mixes positions; told apart by `kind`. */
type MixerSpec = AttentionSpec;

export interface AttentionSpec {
  readonly kind: 'attention';
  readonly heads: number;
  readonly keyHeads: number;
  readonly headWidth: number;
  readonly scale: number;
  /** 0: none. */
  readonly softcap: number;
  /** Positions that a query sees, its own included; 0: all before it. */
  readonly window: number;
  /** null: this layer does not know positions. */
  readonly rope: ProgramRope | null;
  /** q_norm and k_norm: none, over each head, or over all heads together. */
  readonly headNorm: 'none' | 'head' | 'width';
  /** q_proj, k_proj and v_proj, or one qkv_proj with the three below each other. */
  readonly projections: 'separate' | 'fused';
  readonly inputBias: boolean;
  readonly outputBias: boolean;
  /** Multiplies q by 1 + beta * ln(1 + floor(position / original)). */
  readonly queryScale: { readonly beta: number; readonly original: number } | null;
}

/** What works on each position alone; told apart by `kind`. */
export type FeedForwardSpec = GatedSpec;

/** down(activation(gate(x)) * up(x)) */
export interface GatedSpec {
  readonly kind: 'gated';
  readonly inner: number;
  readonly activation: ActivationKind;
  /** gate_proj and up_proj, or one gate_up_proj with gate above up. */
  readonly projections: 'separate' | 'fused';
  readonly bias: boolean;
}

export interface HeadSpec {
  /** The embedding table is the output matrix. */
  readonly tied: boolean;
  /** Multiplies the logits. */
  readonly scale: number;
  /** 0: none. */
  readonly softcap: number;
}

/** How names in a file become paths; what mlx-lm's `sanitize` does for these families. */
export interface TensorNameRules {
  /** A name that holds one of these is no parameter of the language model. */
  readonly drop: readonly string[];
  /** The first rule whose `from` starts the name replaces it by `to`. */
  readonly rename: readonly { readonly from: string; readonly to: string }[];
}
