import { describe, expect, it } from 'vitest';
import { groupLogits, type RankWork } from '../../test/support/rank-group.ts';
import {
  parameterGroups,
  parameterRows,
  type WeightFile,
  weightFile,
} from '../../test/support/weight-file.ts';
import type { Config } from '../model/config.ts';
import { blockFormats } from '../model/manifest.ts';
import { buildModel, type Model } from '../model/model.ts';
import type { ParameterStorage } from '../model/program.ts';
import { groupOf } from '../model/quantization.ts';
import type { Range } from '../model/split/shares.ts';
import type { SplitKind } from '../model/split/plan.ts';
import { smallConfigs } from '../model/testing.ts';
import type { ParameterSource } from './addon.ts';
import { parameterSources } from './parameter-sources.ts';

const dense: ParameterStorage = { kind: 'dense' };
const affine = (bits: number, group: number): ParameterStorage => ({ kind: 'affine', bits, group });

interface Case {
  readonly kind: SplitKind;
  readonly precise: boolean;
  readonly ranks: number;
  readonly shares: readonly number[] | null;
}

function rankModels(config: Config, { tensors }: WeightFile, split: Case): Model[] {
  const { kind, precise, ranks, shares } = split;
  return Array.from({ length: ranks }, (_, rank) =>
    buildModel({ config, tensors }, { split: { kind, rank, ranks, shares }, precise }),
  );
}

function sourceOf(model: Model, parameter: number): ParameterSource {
  const found = parameterSources(model)[parameter];
  if (found === undefined) throw new Error(`no parameter ${parameter}`);
  expect(found.source.parameter).toBe(parameter);
  return found.source;
}

/** All of a model's parameters by their paths, as rows of groups. */
function groupsByPath(model: Model, { bytes }: WeightFile): Map<string, string[][]> {
  return new Map(
    model.parameters.map(({ path }, at) => [path, parameterGroups(bytes, sourceOf(model, at))]),
  );
}

const pick = <Item>(items: readonly Item[], { first, count }: Range) =>
  items.slice(first, first + count);

const storages: [string, ParameterStorage][] = [
  ['dense', dense],
  ...[2, 3, 4, 5, 6, 8].map((bits): [string, ParameterStorage] => [
    `affine of ${bits} bits`,
    affine(bits, 32),
  ]),
  ['affine in groups of 64', affine(4, 64)],
  ['mxfp4', { kind: 'mxfp4' }],
  ...blockFormats.map((format): [string, ParameterStorage] => [format, { kind: 'block', format }]),
];

/** Widths that the groups of a storage divide, so that it can be cut both ways. */
function wide(config: Config, storage: ParameterStorage): Config {
  const head = Math.max(16, groupOf(storage));
  return {
    ...config,
    hidden_size: 2 * head,
    intermediate_size: 4 * head,
    head_dim: head,
    // phi3 has no head_dim: its heads are as wide as this makes them.
    num_attention_heads: config['model_type'] === 'phi3' ? 2 : 4,
    num_key_value_heads: 2,
    vocab_size: 12,
    rope_scaling: null,
  };
}

describe('what the pieces of every rank name', () => {
  it.each(storages)('%s: bytes of its part', (_, storage) => {
    for (const base of [smallConfigs.llama, smallConfigs.phi3]) {
      const config = wide(base, storage);
      const permuted = base.model_type === 'llama' ? { heads: 4, keyHeads: 2 } : null;
      const file = weightFile(config, () => storage, permuted);
      const whole = groupsByPath(buildModel({ config, tensors: file.tensors }), file);
      const cases: Case[] = [
        { kind: 'tensor', precise: false, ranks: 2, shares: null },
        { kind: 'tensor', precise: true, ranks: 2, shares: [3, 1] },
        { kind: 'pipeline', precise: false, ranks: 1, shares: null },
        ...(permuted === null
          ? []
          : [{ kind: 'tensor', precise: false, ranks: 3, shares: [1, 1, 2] } as const]),
      ];
      for (const split of cases) {
        for (const model of rankModels(config, file, split)) {
          expectParts(model, groupsByPath(model, file), whole, storage);
          const joins = model.parameters.filter(({ path }) => /[on]_proj.weight$/u.test(path));
          const expected = split.precise ? 'columns' : 'rows';
          expect(new Set(joins.map(({ part }) => part.split))).toEqual(new Set([expected]));
        }
      }
    }
  });
});

/** Each parameter is the part of the whole model's that its rows and columns say. */
function expectParts(
  model: Model,
  groups: ReadonlyMap<string, string[][]>,
  whole: ReadonlyMap<string, string[][]>,
  storage: ParameterStorage,
): void {
  for (const { path, part, declared } of model.parameters) {
    const group = declared.shape.length > 1 ? groupOf(storage) : 1;
    const { first, count } = part.columns;
    const columns = { first: first / group, count: count / group };
    const rows = part.rows.flatMap((range) => pick(whole.get(path) ?? [], range));
    expect(groups.get(path), path).toEqual(rows.map((row) => pick(row, columns)));
  }
}

describe('pieces', () => {
  const at = (model: Model, path: string) => {
    const index = model.parameters.findIndex((parameter) => parameter.path === path);
    return sourceOf(model, index).parts.map(({ role, shape, unpermuteHeads, pieces }) => ({
      role,
      shape,
      unpermuteHeads,
      pieces: pieces.map(({ offset, ...rest }) => ({ at: offset, ...rest })),
    }));
  };
  const split = { kind: 'tensor', precise: false, ranks: 2, shares: null } as const;
  /** Each tensor by itself, from offset 1000 on. */
  const placed = (
    config: Config,
    storage: ParameterStorage,
    heads: Parameters<typeof weightFile>[2],
  ) => {
    const file = weightFile(config, () => storage, heads);
    return { ...file, tensors: file.tensors.map((entry) => ({ ...entry, offset: 1000 })) };
  };

  it('are strided rows where the input is divided', () => {
    const file = placed(smallConfigs.mistral, affine(3, 32), null);
    const [, second] = rankModels(smallConfigs.mistral, file, split);
    // 96 columns are 3 groups: 2 for the first rank, 1 for the second; 12 bytes of words a group.
    expect(second && at(second, 'model.layers.0.mlp.down_proj.weight')).toEqual([
      {
        role: 'weight',
        shape: [64, 3],
        unpermuteHeads: 0,
        pieces: [{ at: 1024, file: 0, rowBytes: 12, rowStride: 36, rowCount: 64 }],
      },
      {
        role: 'scales',
        shape: [64, 1],
        unpermuteHeads: 0,
        pieces: [{ at: 1008, file: 0, rowBytes: 4, rowStride: 12, rowCount: 64 }],
      },
      {
        role: 'biases',
        shape: [64, 1],
        unpermuteHeads: 0,
        pieces: [{ at: 1008, file: 0, rowBytes: 4, rowStride: 12, rowCount: 64 }],
      },
    ]);
  });

  it('are one a section where matrices are fused', () => {
    const file = placed(smallConfigs.phi3, dense, null);
    const [, second] = rankModels(smallConfigs.phi3, file, split);
    // q has 4 heads of 16 rows, k and v 2: the second rank has the second half of each.
    const piece = { file: 0, rowBytes: 256, rowStride: 256 };
    expect(second && at(second, 'model.layers.0.self_attn.qkv_proj.weight')).toEqual([
      {
        role: 'weight',
        shape: [64, 64],
        unpermuteHeads: 0,
        pieces: [
          { ...piece, at: 1000 + 32 * 256, rowCount: 32 },
          { ...piece, at: 1000 + (64 + 16) * 256, rowCount: 16 },
          { ...piece, at: 1000 + (64 + 32 + 16) * 256, rowCount: 16 },
        ],
      },
    ]);
  });

  it('name the heads of their own rows in the order of llama.cpp', () => {
    const file = placed(smallConfigs.llama, dense, { heads: 4, keyHeads: 2 });
    const [first, , third] = rankModels(smallConfigs.llama, file, { ...split, ranks: 3 });
    const q = (model: Model | undefined, name: string) =>
      model && at(model, `model.layers.0.self_attn.${name}`).map((part) => part.unpermuteHeads);
    // Two key heads for three ranks: the first two share one, and have a query each.
    expect([q(first, 'q_proj.weight'), q(first, 'q_proj.bias')]).toEqual([[1], [1]]);
    expect([q(first, 'k_proj.weight'), q(third, 'q_proj.weight')]).toEqual([[1], [2]]);
  });
});

describe('ranks together compute what one does', () => {
  const cases: Case[] = [2, 3, 4].flatMap((ranks): Case[] => [
    { kind: 'tensor', precise: true, ranks, shares: null },
    { kind: 'tensor', precise: false, ranks, shares: null },
    { kind: 'tensor', precise: false, ranks, shares: [1, 4, 2, 1].slice(0, ranks) },
    { kind: 'pipeline', precise: false, ranks, shares: null },
  ]);
  const tokens = [7, 49, 0, 23, 24, 25, 3, 48, 11, 31];

  it.each(Object.entries(smallConfigs))('%s', (_, config) => {
    for (const storage of [dense, affine(4, 32)]) expectSameLogits(deeper(config), storage);
  });

  /** As many layers as the most ranks. */
  function deeper(config: Config): Config {
    const repeated = (value: unknown) =>
      Array.isArray(value) && value.length === 2 ? [...value, ...value] : value;
    const changes = {
      num_hidden_layers: 4,
      layer_types: repeated(config['layer_types']),
      no_rope_layers: repeated(config['no_rope_layers']),
    };
    const inner = config['text_config'];
    return typeof inner === 'object' && inner !== null
      ? { ...config, text_config: { ...inner, ...changes } }
      : { ...config, ...changes };
  }

  function expectSameLogits(config: Config, storage: ParameterStorage): void {
    const file = weightFile(config, () => storage);
    const work = (model: Model): RankWork => ({
      program: model.program,
      parameters: model.parameters.map((_, at) =>
        parameterRows(
          file.bytes,
          sourceOf(model, at),
          model.program.parameters[at]?.storage ?? dense,
        ),
      ),
    });
    const one = groupLogits([work(buildModel({ config, tensors: file.tensors }))], tokens, 3);
    expect(one.map((row) => row.length)).toEqual([50, 50, 50]);
    expect(one.flat().every(Number.isFinite)).toBe(true);
    for (const split of cases) {
      const logits = groupLogits(rankModels(config, file, split).map(work), tokens, 3);
      if (split.precise || split.kind === 'pipeline') expect(logits).toEqual(one);
      else {
        const difference = logits.flatMap((row, r) =>
          row.map((value, i) => Math.abs(value - (one[r]?.[i] ?? Number.NaN))),
        );
        expect(Math.max(...difference)).toBeLessThan(1e-11);
      }
    }
  }
});
