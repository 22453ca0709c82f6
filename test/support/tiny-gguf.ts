import { type GgufTestTensor, type GgufTestValue, gguf } from './gguf-writer.ts';

/** A byte-level vocabulary just large enough for a merge, an end token and a user-defined token. */
const tinyTokens = ['<|end|>', 'a', 'b', 'ab', '<tool>', 'c'];

export const tinyTokenizer: Readonly<Record<string, GgufTestValue>> = {
  'tokenizer.ggml.model': gguf.string('gpt2'),
  'tokenizer.ggml.pre': gguf.string('gpt-2'),
  'tokenizer.ggml.tokens': gguf.strings(tinyTokens),
  'tokenizer.ggml.token_type': gguf.i32s([3, 1, 1, 1, 4, 1]),
  'tokenizer.ggml.merges': gguf.strings(['a b']),
  'tokenizer.ggml.eos_token_id': gguf.u32(0),
};

/** Metadata of a llama with one layer of width 8 and two heads, one for k and v. */
export const tinyLlama: Readonly<Record<string, GgufTestValue>> = {
  'general.architecture': gguf.string('llama'),
  'llama.block_count': gguf.u32(1),
  'llama.context_length': gguf.u32(64),
  'llama.embedding_length': gguf.u32(8),
  'llama.feed_forward_length': gguf.u32(16),
  'llama.attention.head_count': gguf.u32(2),
  'llama.attention.head_count_kv': gguf.u32(1),
  'llama.attention.layer_norm_rms_epsilon': gguf.f32(1e-5),
  'llama.rope.freq_base': gguf.f32(10_000),
  ...tinyTokenizer,
  'tokenizer.chat_template': gguf.string('{{ messages }}'),
};

/** An f32 tensor of zeros. */
export function zeros(name: string, shape: readonly number[]): GgufTestTensor {
  const elements = shape.reduce((product, size) => product * size, 1);
  return { name, type: 0, shape, data: new Uint8Array(elements * 4) };
}

export const tinyLlamaTensors: readonly GgufTestTensor[] = [
  zeros('token_embd.weight', [6, 8]),
  zeros('blk.0.attn_norm.weight', [8]),
  zeros('blk.0.attn_q.weight', [8, 8]),
  zeros('blk.0.attn_k.weight', [4, 8]),
  zeros('blk.0.attn_v.weight', [4, 8]),
  zeros('blk.0.attn_output.weight', [8, 8]),
  zeros('blk.0.ffn_norm.weight', [8]),
  zeros('blk.0.ffn_gate.weight', [16, 8]),
  zeros('blk.0.ffn_up.weight', [16, 8]),
  zeros('blk.0.ffn_down.weight', [8, 16]),
  zeros('output_norm.weight', [8]),
];
