import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { CideryError } from '../../base/error.ts';
import type { Config } from '../config.ts';
import { cacheBytesPerPosition, weightBytes } from '../memory.ts';
import { buildModel, type Model } from '../model.ts';
import { encodeProgram } from '../program-encoding.ts';
import type { Program } from '../program.ts';
import { programFlaws, smallConfigs, smolLm2Config } from '../testing.ts';
import { chooseSplit, type SplitKind } from './plan.ts';

const goldens = join(import.meta.dirname, '../../../test/golden/models');
const configSchema = z.record(z.string(), z.unknown());
const goldenConfigs = readdirSync(goldens).map((name): [string, Config] => [
  name,
  configSchema.parse(JSON.parse(readFileSync(join(goldens, name, 'config.json'), 'utf8'))),
]);

interface Case {
  readonly kind: SplitKind;
  readonly ranks: number;
  readonly precise: boolean;
  readonly shares: readonly number[] | null;
}
const cases = [1, 2, 3, 4].flatMap((ranks) =>
  (['tensor', 'pipeline'] as const).flatMap((kind) =>
    [true, false].flatMap((precise): Case[] => [
      { kind, ranks, precise, shares: null },
      { kind, ranks, precise, shares: [1, 5, 0.5, 2].slice(0, ranks) },
    ]),
  ),
);

const weightMode = { executor: 'cpu', precise: false } as const;

function split(config: Config, { kind, ranks, precise, shares }: Case): Model[] {
  return Array.from({ length: ranks }, (_, rank) =>
    buildModel({ config }, { split: { kind, rank, ranks, shares }, precise }),
  );
}

/** What a program asks of the other ranks, in its order. */
function collectives({ operations, layouts }: Program): string[] {
  return operations.flatMap(({ kind, fields }) => {
    if (kind === 'allSum') return [`sum ${fields.data.width}`];
    return kind === 'allGather' ? [`gather ${layouts[fields.layout]?.join(' ')}`] : [];
  });
}

function messages({ operations, buffers }: Program): string[] {
  return operations.flatMap(({ kind, fields }) => {
    if (kind === 'send') return [`to ${fields.to}: ${buffers[fields.in.buffer]?.name}`];
    if (kind === 'receive') return [`from ${fields.from}: ${buffers[fields.out.buffer]?.name}`];
    return [];
  });
}

function refusal(call: () => unknown): string {
  try {
    call();
  } catch (error) {
    if (error instanceof CideryError) return `${error.code}: ${error.message} ${error.hint}`;
    throw error;
  }
  return 'accepted';
}

/** How often the ranks together have each element of a parameter: [most, least, all]. */
function coverage(models: readonly Model[], path: string, shape: readonly number[]) {
  const [height = 0, width = 1] = shape;
  const counts = new Uint32Array(height * width);
  for (const { parameters } of models) {
    const found = parameters.find((parameter) => parameter.path === path);
    for (const rows of found?.part.rows ?? []) {
      for (let row = rows.first; row < rows.first + rows.count; row += 1) {
        const first = row * width + (found?.part.columns.first ?? 0);
        const end = first + (found?.part.columns.count ?? 0);
        for (let at = first; at < end; at += 1) counts[at] = (counts[at] ?? 0) + 1;
      }
    }
  }
  return {
    most: counts.reduce((most, count) => Math.max(most, count), 0),
    least: counts.reduce((least, count) => Math.min(least, count), Number.MAX_SAFE_INTEGER),
    all: counts.reduce((sum, count) => sum + count, 0),
  };
}

/** Key heads of a layer that the ranks hold, all together. */
function keyHeadsHeld(models: readonly Model[], layer: number): number {
  const counts = models.flatMap(({ parameters, spec }) => {
    const { headWidth, keyHeads } = spec.layers[layer]?.mixer ?? { headWidth: 0, keyHeads: 0 };
    const values = parameters.find(
      ({ path, declared }) =>
        declared.layer === layer && /\.(?:v_proj|qkv_proj)\.weight$/u.test(path),
    );
    if (values === undefined) return [];
    const { split: kind, rows } = values.part;
    return [kind === 'whole' ? keyHeads : (rows.at(-1)?.count ?? 0) / headWidth];
  });
  return counts.reduce((sum, count) => sum + count, 0);
}

describe.each(goldenConfigs)('%s, split over 1 to 4 ranks', (_, config) => {
  const whole = buildModel({ config });
  const { layers } = whole.spec;
  const fewest = (kind: SplitKind) =>
    kind === 'pipeline' ? layers.length : Math.min(...layers.map(({ mixer }) => mixer.heads));
  const possible = cases.filter(({ kind, ranks }) => fewest(kind) >= ranks);
  const made = possible.map((wanted) => ({ ...wanted, models: split(config, wanted) }));

  it('has sound programs, which ask for the same in the same order', () => {
    for (const wanted of made) {
      const programs = wanted.models.map(({ program }) => program);
      expect(programs.map(programFlaws)).toEqual(programs.map(() => []));
      for (const program of programs) encodeProgram(program);
      const asked = programs.map(collectives);
      expect(new Set(asked.map((list) => list.join())).size).toBe(1);
      const count = asked[0]?.length ?? 0;
      if (wanted.kind === 'pipeline' || wanted.ranks === 1) expect(count).toBe(0);
      else {
        // The embedding; then two sums a layer or four gathers, and the widths of olmo2's norms.
        const most = 1 + layers.length * (whole.spec.family === 'olmo2' ? 6 : 4);
        expect(count).toBeGreaterThanOrEqual(1 + layers.length * 2);
        expect(count).toBeLessThanOrEqual(most);
        if (wanted.precise) expect(asked[0]?.filter((ask) => ask.startsWith('sum')).length).toBe(1);
      }
      expect(programs.map(messages)).toEqual(
        programs.map((___, rank) =>
          wanted.kind === 'tensor' || wanted.ranks === 1
            ? []
            : [
                rank === 0 ? [] : [`from ${rank - 1}: hidden`],
                rank === wanted.ranks - 1 ? ['to 0: selected'] : [`to ${rank + 1}: hidden`],
                rank === 0 ? [`from ${wanted.ranks - 1}: selected`] : [],
              ].flat(),
        ),
      );
    }
  });

  it('has every element once, but for what ranks share', () => {
    for (const { models, ...wanted } of made) {
      const members = wanted.kind === 'tensor' ? wanted.ranks : 1;
      let shared = 0;
      for (const { path, shape, declared } of whole.parameters) {
        const { most, least, all } = coverage(models, path, shape);
        const size = shape.reduce((product, length) => product * length, 1);
        shared += all - size;
        const layer = declared.layer ?? 0;
        const mixer = layers[layer]?.mixer;
        const held = keyHeadsHeld(models, layer);
        const repeats =
          mixer !== undefined && held > mixer.keyHeads && /[kv]_proj|qkv_proj/u.test(path);
        if (declared.split.kind === 'replicated') expect([most, least]).toEqual([members, members]);
        else if (!repeats) expect([path, most, least]).toEqual([path, 1, 1]);
        else if (mixer.headNorm === 'width' && path.includes('k_proj')) expect(least).toBe(members);
        else {
          // Of k and of v; a cut between members repeats one key head at most.
          const matrices = path.includes('qkv') ? 2 : 1;
          const keyRows = (held - mixer.keyHeads) * mixer.headWidth * matrices;
          expect(held).toBeLessThan(mixer.keyHeads + members);
          expect(least).toBeGreaterThanOrEqual(1);
          expect(all - size).toBe(keyRows * (shape[1] ?? 1));
        }
      }
      const elements = (model: Model) =>
        model.parameters.reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0);
      const sum = models.map(elements).reduce((a, b) => a + b, 0);
      expect(sum).toBe(elements(whole) + shared);
    }
  });

  it('takes the memory of one rank, and what is repeated', () => {
    for (const { models, ...wanted } of made) {
      const bytes = models.map(({ program }) => weightBytes(program, weightMode));
      const sum = bytes.reduce((a, b) => a + b, 0);
      const one = weightBytes(whole.program, weightMode);
      expect(sum).toBeGreaterThanOrEqual(one);
      if (wanted.kind === 'pipeline') expect(sum).toBe(one);
      const cache = models
        .map(({ program }) => cacheBytesPerPosition(program, weightMode))
        .reduce((a, b) => a + b, 0);
      const shares = layers.map(({ mixer }, at) => keyHeadsHeld(models, at) / mixer.keyHeads);
      const repeated = shares.reduce((a, b) => a + b, 0) / layers.length;
      expect(cache).toBeCloseTo(cacheBytesPerPosition(whole.program, weightMode) * repeated, 6);
    }
  });

  it('is refused where there are fewer heads or layers than ranks', () => {
    for (const wanted of cases.filter((one) => !possible.includes(one))) {
      const text = refusal(() => split(config, wanted));
      expect(text).toMatch(/^split_impossible: this model has \d+ (?:heads|layers): too few/u);
    }
  });
});

describe('what cannot be split', () => {
  const config = { ...smallConfigs.llama, num_hidden_layers: 3 };
  const refused = (kind: SplitKind, ranks: number, changes: object = {}) =>
    refusal(() => split({ ...config, ...changes }, { kind, ranks, precise: false, shares: null }));

  it('says what would work', () => {
    expect(refused('tensor', 5)).toBe(
      'split_impossible: this model has 4 heads: too few for a tensor split over 5 ranks ' +
        'use at most 4 ranks',
    );
    expect(refused('pipeline', 4)).toBe(
      'split_impossible: this model has 3 layers: too few for a pipeline split over 4 ranks ' +
        'split it by tensor, or over at most 3',
    );
    expect(refused('tensor', 6, { num_hidden_layers: 8 })).toMatch(/split it by pipeline, or/u);
    expect(refused('pipeline', 9)).toMatch(/ use at most 4 ranks, split by tensor$/u);
    expect(refused('tensor', 4, { vocab_size: 3 })).toMatch(/has 3 tokens: too few/u);
    expect(refused('tensor', 4, { intermediate_size: 2 })).toMatch(/has 2 inner columns: too few/u);
  });

  it.each<[string, object]>([
    ['no ranks', { ranks: 0 }],
    ['half a rank', { ranks: 1.5 }],
    ['more ranks than anybody has', { ranks: 65 }],
    ['a rank beyond them', { rank: 2 }],
    ['a rank before them', { rank: -1 }],
    ['shares for others', { shares: [1] }],
    ['a share of nothing', { shares: [1, 0] }],
    ['a share that is no number', { shares: [1, Number.NaN] }],
    ['a share without end', { shares: [1, Number.POSITIVE_INFINITY] }],
  ])('%s', (_, changes) => {
    const request = { kind: 'tensor', rank: 0, ranks: 2, shares: null, ...changes } as const;
    const call = () => buildModel({ config }, { split: request, precise: false });
    expect(refusal(call)).toMatch(/^split_invalid: /u);
  });

  it('is chosen by itself: tensor, else pipeline', () => {
    const { spec } = buildModel({ config: { ...config, num_hidden_layers: 8 } });
    expect([1, 4, 5, 8].map((ranks) => chooseSplit(spec, ranks))).toEqual([
      'tensor',
      'tensor',
      'pipeline',
      'pipeline',
    ]);
    expect(refusal(() => chooseSplit(spec, 9))).toMatch(/use at most 8 ranks, split by pipeline$/u);
    expect(refusal(() => chooseSplit(spec, 0))).toMatch(/^split_invalid: /u);
  });
});

describe('shares', () => {
  /** 9 heads, 3 key heads of 64, 1,536 inner columns, groups of 32. */
  const config = { ...smolLm2Config, quantization: { bits: 4, group_size: 32 } };
  const shapes = (wanted: Case, names: readonly string[]) =>
    split(config, wanted).map(({ parameters }) =>
      names.map((name) => parameters.find(({ path }) => path.endsWith(name))?.shape),
    );
  const names = ['q_proj.weight', 'k_proj.weight', 'o_proj.weight', 'down_proj.weight'];

  it('go by query heads, and by groups where products are summed', () => {
    const wanted = { kind: 'tensor', ranks: 2, precise: false, shares: null } as const;
    expect(shapes(wanted, names)).toEqual([
      [
        [320, 576],
        [128, 576],
        [576, 320],
        [576, 768],
      ],
      [
        [256, 576],
        [128, 576],
        [576, 256],
        [576, 768],
      ],
    ]);
  });

  it('say where a rank begins within a group of queries', () => {
    const groups = (ranks: number) =>
      split(config, { kind: 'tensor', ranks, precise: false, shares: null }).map(({ program }) =>
        program.operations.flatMap(({ kind, fields }) =>
          kind === 'attention'
            ? [[fields.heads, fields.keyHeads, fields.groupHeads, fields.firstInGroup].join()]
            : [],
        ),
      );
    const all = (one: string) => Array.from({ length: 30 }, () => one);
    expect(groups(1)).toEqual(['9,3,3,0'].map(all));
    expect(groups(2)).toEqual(['5,2,3,0', '4,2,3,2'].map(all));
    expect(groups(3)).toEqual(['3,1,3,0', '3,1,3,0', '3,1,3,0'].map(all));
  });

  it('repeat a key head where there are more ranks', () => {
    const wanted = { kind: 'tensor', ranks: 4, precise: false, shares: null } as const;
    const queries = shapes(wanted, names).map(([q, k]) => [q?.[0], k?.[0]]);
    expect(queries.map(([, k]) => k)).toEqual([64, 64, 64, 64]);
    expect(queries.map(([q]) => q).toSorted((a = 0, b = 0) => a - b)).toEqual([64, 128, 192, 192]);
  });

  it('may be uneven', () => {
    const wanted = { kind: 'pipeline', ranks: 3, precise: false, shares: [3, 1, 2] } as const;
    expect(split(config, wanted).map(({ program }) => program.caches.length)).toEqual([15, 5, 10]);
    const tensor = { kind: 'tensor', ranks: 2, precise: false, shares: [1, 3] } as const;
    expect(shapes(tensor, ['down_proj.weight', 'embed_tokens.weight'])).toEqual([
      [
        [576, 384],
        [12_288, 576],
      ],
      [
        [576, 1152],
        [36_864, 576],
      ],
    ]);
  });
});
