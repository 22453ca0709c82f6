import { unsupportedModel } from '../model-file-error.ts';

/**
 * What llama.cpp's converters do to a family's tensors, and what they are called there and here.
 * Facts from llama.cpp's conversion scripts and gguf-py/gguf/tensor_mapping.py, and from
 * transformers' module names.
 */
export interface GgufArchitecture {
  /** model_type of the equivalent config.json. */
  readonly modelType: string;
  /** Rows of q and k are stored in the order that ggml's interleaved rope wants. */
  readonly permutesRope: boolean;
  /** Norm weights are stored with 1 added. */
  readonly shiftsNorms: boolean;
  /** Names within a layer, without `.weight` or `.bias`: ggml's to Hugging Face's. */
  readonly layerNames: Readonly<Record<string, string>>;
}

const attentionNames = {
  attn_q: 'self_attn.q_proj',
  attn_k: 'self_attn.k_proj',
  attn_v: 'self_attn.v_proj',
  attn_output: 'self_attn.o_proj',
};

const gatedMlpNames = {
  ffn_gate: 'mlp.gate_proj',
  ffn_up: 'mlp.up_proj',
  ffn_down: 'mlp.down_proj',
};

/** ffn_up holds gate and up one behind the other, as the published weights do. */
const fusedMlpNames = { ffn_up: 'mlp.gate_up_proj', ffn_down: 'mlp.down_proj' };

const preNormNames = { attn_norm: 'input_layernorm', ffn_norm: 'post_attention_layernorm' };

const headNormNames = { attn_q_norm: 'self_attn.q_norm', attn_k_norm: 'self_attn.k_norm' };

const gemmaNormNames = {
  attn_norm: 'input_layernorm',
  post_attention_norm: 'post_attention_layernorm',
  ffn_norm: 'pre_feedforward_layernorm',
  post_ffw_norm: 'post_feedforward_layernorm',
};

const llamaNames = { ...attentionNames, ...gatedMlpNames, ...preNormNames };

function family(
  modelType: string,
  layerNames: Readonly<Record<string, string>>,
  changes: { permutesRope?: true; shiftsNorms?: true } = {},
): GgufArchitecture {
  return { modelType, layerNames, permutesRope: false, shiftsNorms: false, ...changes };
}

const architectures: ReadonlyMap<string, GgufArchitecture> = new Map([
  ['llama', family('llama', llamaNames, { permutesRope: true })],
  ['mistral3', family('ministral3', llamaNames, { permutesRope: true })],
  ['smollm3', family('smollm3', llamaNames, { permutesRope: true })],
  ['granite', family('granite', llamaNames, { permutesRope: true })],
  ['qwen2', family('qwen2', llamaNames)],
  ['qwen3', family('qwen3', { ...llamaNames, ...headNormNames })],
  [
    'gemma2',
    family(
      'gemma2',
      { ...attentionNames, ...gatedMlpNames, ...gemmaNormNames },
      { shiftsNorms: true },
    ),
  ],
  [
    'gemma3',
    family(
      'gemma3_text',
      { ...attentionNames, ...gatedMlpNames, ...gemmaNormNames, ...headNormNames },
      { shiftsNorms: true },
    ),
  ],
  [
    'phi3',
    family('phi3', {
      attn_qkv: 'self_attn.qkv_proj',
      attn_output: 'self_attn.o_proj',
      ...fusedMlpNames,
      ...preNormNames,
    }),
  ],
  [
    'glm4',
    family('glm4', {
      ...attentionNames,
      ...fusedMlpNames,
      attn_norm: 'input_layernorm',
      post_attention_norm: 'post_self_attn_layernorm',
      ffn_norm: 'post_attention_layernorm',
      post_ffw_norm: 'post_mlp_layernorm',
    }),
  ],
  [
    'cohere2',
    family('cohere2', { ...attentionNames, ...gatedMlpNames, attn_norm: 'input_layernorm' }),
  ],
  [
    'olmo2',
    family('olmo2', {
      ...attentionNames,
      ...gatedMlpNames,
      ...headNormNames,
      post_attention_norm: 'post_attention_layernorm',
      post_ffw_norm: 'post_feedforward_layernorm',
    }),
  ],
]);

/** The family that general.architecture names, or `model_unsupported` with that name. */
export function ggufArchitecture(name: string, fileName: string): GgufArchitecture {
  const architecture = architectures.get(name);
  if (architecture !== undefined) return architecture;
  throw unsupportedModel(
    `${fileName} holds a model of the architecture "${name}", which cannot be run`,
    `architectures that can: ${[...architectures.keys()].join(', ')}`,
  );
}
