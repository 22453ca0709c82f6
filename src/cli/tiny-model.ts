import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/**
 * A llama of one layer whose logits follow by hand: queries and keys are zero, so that every
 * position sees all before it alike; values and output pass things on; the MLP adds nothing.
 */
const vocabulary = 32;
const width = 32;
const epsilon = 1e-5;

const config = {
  model_type: 'llama',
  hidden_size: width,
  num_hidden_layers: 1,
  intermediate_size: width,
  num_attention_heads: 2,
  num_key_value_heads: 2,
  head_dim: width / 2,
  vocab_size: vocabulary,
  rms_norm_eps: epsilon,
  rope_theta: 10_000,
  max_position_embeddings: 256,
  tie_word_embeddings: true,
};

function embedding(token: number): number[] {
  return Array.from({ length: width }, (_, column) =>
    Math.fround(Math.cos(0.7 * token + 0.31 * (token + 1) * column)),
  );
}

/** Writes config.json and model.safetensors into a folder that is made. */
export async function writeTinyModel(folder: string): Promise<void> {
  const zeros = Array.from({ length: width * width }, () => 0);
  const ones = Array.from({ length: width }, () => 1);
  const identity = zeros.map((_, at) => (at % (width + 1) === 0 ? 1 : 0));
  const rows = Array.from({ length: vocabulary }, (_, token) => embedding(token));
  const layer = 'model.layers.0';
  const square = [width, width];
  const tensors: [string, number[], number[]][] = [
    ['model.embed_tokens.weight', [vocabulary, width], rows.flat()],
    [`${layer}.input_layernorm.weight`, [width], ones],
    [`${layer}.self_attn.q_proj.weight`, square, zeros],
    [`${layer}.self_attn.k_proj.weight`, square, zeros],
    [`${layer}.self_attn.v_proj.weight`, square, identity],
    [`${layer}.self_attn.o_proj.weight`, square, identity],
    [`${layer}.post_attention_layernorm.weight`, [width], ones],
    [`${layer}.mlp.gate_proj.weight`, square, zeros],
    [`${layer}.mlp.up_proj.weight`, square, zeros],
    [`${layer}.mlp.down_proj.weight`, square, zeros],
    ['model.norm.weight', [width], ones],
  ];
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, 'config.json'), JSON.stringify(config));
  await writeFile(join(folder, 'model.safetensors'), safetensors(tensors));
}

function safetensors(tensors: readonly [string, number[], number[]][]): Buffer {
  let at = 0;
  const entries = tensors.map(([name, shape, values]) => {
    const end = at + values.length * 4;
    const entry = [name, { dtype: 'F32', shape, data_offsets: [at, end] }] as const;
    at = end;
    return entry;
  });
  const header = Buffer.from(JSON.stringify(Object.fromEntries(entries)));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(header.length));
  const data = tensors.map(([, , values]) => Buffer.from(Float32Array.from(values).buffer));
  return Buffer.concat([length, header, ...data]);
}

/** The logits after each of the tokens, as the formulas have them; [tokens, vocabulary]. */
export function tinyModelLogits(tokens: readonly number[]): number[][] {
  const inputs = tokens.map(embedding);
  const values = inputs.map(normalized);
  return inputs.map((input, position) => {
    const seen = values.slice(0, position + 1);
    const hidden = input.map(
      (own, column) => own + seen.reduce((sum, row) => sum + (row[column] ?? 0), 0) / seen.length,
    );
    const final = normalized(hidden);
    return Array.from({ length: vocabulary }, (_, token) => dot(embedding(token), final));
  });
}

function normalized(values: readonly number[]): number[] {
  const scale = 1 / Math.sqrt(dot(values, values) / values.length + epsilon);
  return values.map((value) => value * scale);
}

function dot(a: readonly number[], b: readonly number[]): number {
  return a.reduce((sum, value, at) => sum + value * (b[at] ?? 0), 0);
}
