import type { Config } from './config.ts';
import type { TensorEntry, TensorFormat } from './manifest.ts';
import { buildModel } from './model.ts';
import { operations } from './operations.ts';
import type { Columns, Operation, ParameterStorage, Program } from './program.ts';
import { groupOf } from './quantization.ts';

/**
 * What this folder's tests share: a small config of each family, tensors that fit a model, programs
 * as text.
 */

const small = {
  hidden_size: 64,
  num_hidden_layers: 1,
  intermediate_size: 96,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  rms_norm_eps: 1e-5,
  vocab_size: 50,
  max_position_embeddings: 128,
};

export const smallConfigs = {
  llama: { ...small, model_type: 'llama', attention_bias: true, mlp_bias: true },
  mistral: { ...small, model_type: 'mistral', sliding_window: 8, tie_word_embeddings: false },
  iquestcoder: { ...small, model_type: 'iquestcoder' },
  ministral3: {
    ...small,
    model_type: 'ministral3',
    num_hidden_layers: 2,
    head_dim: 32,
    sliding_window: 8,
    layer_types: ['sliding_attention', 'full_attention'],
    rope_parameters: {
      type: 'default',
      rope_theta: 1e6,
      llama_4_scaling_beta: 0.1,
      original_max_position_embeddings: 16,
    },
  },
  mistral3: { model_type: 'mistral3', text_config: { ...small, model_type: 'mistral' } },
  qwen2: { ...small, model_type: 'qwen2', sliding_window: 8, use_sliding_window: true },
  qwen3: {
    ...small,
    model_type: 'qwen3',
    head_dim: 32,
    tie_word_embeddings: false,
    rope_parameters: { rope_theta: 1e6, rope_type: 'default' },
  },
  gemma2: { ...small, model_type: 'gemma2', head_dim: 16, sliding_window: 8 },
  gemma3_text: {
    ...small,
    model_type: 'gemma3_text',
    num_hidden_layers: 2,
    head_dim: 16,
    sliding_window: 8,
    sliding_window_pattern: 2,
    rope_scaling: { rope_type: 'linear', factor: 8 },
  },
  gemma3: {
    model_type: 'gemma3',
    vocab_size: 50,
    text_config: { ...small, head_dim: 16, model_type: 'gemma3_text' },
  },
  phi3: {
    ...small,
    model_type: 'phi3',
    partial_rotary_factor: 0.75,
    original_max_position_embeddings: 32,
    rope_scaling: {
      type: 'longrope',
      short_factor: [1, 1, 1, 1, 1, 1],
      long_factor: [1, 1.5, 2, 3, 4, 6],
    },
  },
  smollm3: { ...small, num_hidden_layers: 2, model_type: 'smollm3', no_rope_layers: [1, 0] },
  granite: {
    ...small,
    model_type: 'granite',
    rope_theta: 10_000,
    logits_scaling: 8,
    attention_multiplier: 0.25,
    embedding_multiplier: 12,
    residual_multiplier: 0.5,
  },
  glm4: {
    ...small,
    model_type: 'glm4',
    head_dim: 16,
    attention_bias: true,
    partial_rotary_factor: 0.5,
    rope_theta: 10_000,
  },
  cohere2: {
    ...small,
    model_type: 'cohere2',
    num_hidden_layers: 2,
    head_dim: 16,
    layer_norm_bias: true,
    sliding_window: 8,
    sliding_window_pattern: 2,
  },
  olmo2: { ...small, model_type: 'olmo2' },
} satisfies Record<string, Config>;

/**
 * A program, one line a buffer, cache, rope and operation; fields that are absent, 0 or false are
 * left out.
 */
export function programText(program: Program): string {
  const ropes = program.ropes.map(({ frequencies, ...rest }) => {
    return `rope ${pairs({ ...rest, frequencies: frequencies?.length ?? 0 })}`;
  });
  return [
    ...program.buffers.map(({ name, width, domain }) => `buffer ${name} ${width} ${domain}`),
    ...ropes,
    ...program.caches.map((cache) => `cache ${pairs({ ...cache })}`),
    ...program.operations.map((operation) => operationText(program, operation)),
  ].join('\n');
}

function operationText(program: Program, operation: Operation): string {
  const kinds: Record<string, string> = operations[operation.kind].fields;
  const shown = Object.entries(operation.fields).flatMap(([name, value]) => {
    const kind = kinds[name] ?? '';
    if (value === null) return [];
    if (typeof value === 'object') return [`${name}=${columnsText(program, value)}`];
    if (kind.toLowerCase().endsWith('parameter')) {
      return [`${name}=${program.parameters[value]?.path.replace('model.layers.', '')}`];
    }
    return kind === 'optionalRope' ? [`rope=${value}`] : [pairs({ [name]: value })];
  });
  return `${operation.kind} ${shown.filter((text) => text !== '').join(' ')}`;
}

function columnsText(program: Program, { buffer, column, width }: Columns): string {
  const { name, width: whole } = program.buffers[buffer] ?? { name: '?', width: 0 };
  return width === whole ? name : `${name}[${column}:${column + width}]`;
}

function pairs(values: Record<string, number | boolean>): string {
  return Object.entries(values)
    .filter(([, value]) => value !== 0 && value !== false)
    .map(([name, value]) => `${name}=${typeof value === 'number' ? shortest(value) : value}`)
    .join(' ');
}

function shortest(value: number): string {
  return String(Number(value.toPrecision(6)));
}

/** What the addon's checker asks of a program, as far as sizes and numbers go. */
export function programFlaws(program: Program): string[] {
  const used = new Set<number>();
  const found: string[] = [];
  for (const operation of program.operations) {
    for (const [name, kind] of Object.entries(operations[operation.kind].fields)) {
      const fields: Record<string, Columns | number | null> = operation.fields;
      const value = fields[name] ?? null;
      if (kind.toLowerCase().endsWith('parameter') && typeof value === 'number') used.add(value);
      if (!fits(program, value)) found.push(`${operation.kind}.${name}: ${JSON.stringify(value)}`);
    }
    found.push(...shapeFlaws(program, operation));
  }
  if (used.size !== program.parameters.length) found.push('a parameter is not used');
  return found;
}

function fits(program: Program, value: Columns | number | null): boolean {
  if (value === null) return true;
  if (typeof value === 'number') return Number.isFinite(Math.fround(value));
  const { buffer, column, width } = value;
  return width > 0 && column + width <= (program.buffers[buffer]?.width ?? 0);
}

function shapeFlaws(program: Program, { kind, fields }: Operation): string[] {
  const shapeOf = (index: number) => program.parameters[index]?.shape ?? [];
  const fitting = (): boolean => {
    switch (kind) {
      case 'linear': {
        const [out, width] = shapeOf(fields.weight);
        return out === fields.out.width && width === fields.in.width;
      }
      case 'embed': {
        const [rows = 0, width] = shapeOf(fields.table);
        return width === fields.out.width && fields.first + rows <= program.vocabulary;
      }
      case 'head': {
        const [rows = 0, width] = shapeOf(fields.weight);
        return width === fields.in.width && fields.first + rows <= program.vocabulary;
      }
      case 'attention': {
        const { heads, keyHeads, groupHeads, firstInGroup, headWidth, q, k, v } = fields;
        const keyWidth = keyHeads * headWidth;
        const wide = q.width === heads * headWidth && k.width === keyWidth && v.width === keyWidth;
        const needed = Math.ceil((firstInGroup + heads) / groupHeads);
        return wide && firstInGroup < groupHeads && keyHeads === needed;
      }
      case 'allGather': {
        const widths = program.layouts[fields.layout] ?? [];
        const whole = widths.reduce((sum, width) => sum + width, 0);
        const wide = widths[program.rank] === fields.in.width && whole === fields.out.width;
        return wide && widths.length === program.ranks && fields.in.buffer !== fields.out.buffer;
      }
      case 'norm':
        return fields.out.width === fields.in.width;
      case 'add':
        return fields.a.width === fields.b.width && fields.out.width === fields.a.width;
      case 'activate':
        return fields.out.width === fields.gate.width;
      case 'select':
        return fields.out.width === fields.in.width;
      case 'send':
      case 'receive':
      case 'allSum':
        return true;
    }
  };
  return fitting() ? [] : [`${kind} ${JSON.stringify(fields)}`];
}

/**
 * The tensors that a file of this model holds, each parameter stored as `storageOf` says (dense:
 * BF16).
 */
export function tensorsFor(
  config: Config,
  storageOf: (path: string) => ParameterStorage = () => ({ kind: 'dense' }),
): TensorEntry[] {
  return buildModel({ config }).parameters.flatMap(({ path, shape, declared: { role } }) => {
    const storage = storageOf(path);
    const columns = shape.at(-1) ?? 0;
    const rows = shape.slice(0, -1);
    if (storage.kind === 'dense' || role === 'norm' || role === 'bias') {
      return [tensor(path, 'BF16', shape)];
    }
    if (storage.kind === 'block') return [tensor(path, storage.format, shape)];
    const module = path.slice(0, -'.weight'.length);
    const bits = storage.kind === 'affine' ? storage.bits : 4;
    const groups = [...rows, columns / groupOf(storage)];
    const words = tensor(path, 'U32', [...rows, (columns * bits) / 32]);
    return storage.kind === 'affine'
      ? [
          words,
          tensor(`${module}.scales`, 'F16', groups),
          tensor(`${module}.biases`, 'F16', groups),
        ]
      : [words, tensor(`${module}.scales`, 'U8', groups)];
  });
}

export function tensor(name: string, format: TensorFormat, shape: readonly number[]): TensorEntry {
  return { name, format, shape: [...shape], file: 0, offset: 0, byteLength: 0, transforms: [] };
}

/** SmolLM2-135M. */
export const smolLm2Config = {
  model_type: 'llama',
  hidden_size: 576,
  num_hidden_layers: 30,
  num_attention_heads: 9,
  num_key_value_heads: 3,
  intermediate_size: 1536,
  vocab_size: 49_152,
  rope_theta: 100_000,
  rms_norm_eps: 1e-5,
  max_position_embeddings: 8192,
};
