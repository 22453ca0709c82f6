import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readTensorFile, tensorOf, worstDeviation } from '../../test/golden/tensor-file.ts';
import { type CompiledChild, compileChild } from '../../test/support/compile-child.ts';
import { RankProcess } from '../../test/support/rank-process.ts';
import { RankTeam, type TeamOptions, tinyManifest } from '../../test/support/rank-team.ts';
import { buildModel } from '../model/model.ts';
import type { AddonName } from './load-addon.ts';
import {
  greedySampler,
  type PlannedSequence,
  type Sampler,
  type SequenceResult,
} from './step-plan.ts';

const models = join(import.meta.dirname, '../../test/golden/models');
const names = readdirSync(models).sort();
const steps = 12;
let child: CompiledChild;

beforeAll(async () => {
  child = await compileChild('test/support/rank-child.ts');
});
afterAll(() => child.remove());

const drawing: Sampler = {
  ...greedySampler,
  temperature: 0.9,
  topP: 0.9,
  repetition: 1.2,
  presence: 0.1,
  seed: 7n,
  logprobs: 2,
};

/** What a model answers to a prompt: all logits, and what follows in two ways. */
interface Answers {
  readonly logits: Float32Array;
  readonly greedy: number[];
  readonly drawn: Pick<SequenceResult, 'token' | 'logprob' | 'alternatives'>[];
}

/** Asks for everything at once: the addon orders what needs what. */
async function answers(team: RankTeam, ids: readonly number[]): Promise<Answers> {
  const want = (sampler: Sampler) => ({ kind: 'sample', sampler }) as const;
  const part = (slot: number, step: number, sampler: Sampler): PlannedSequence => ({
    slot,
    firstPosition: step === 0 ? 0 : ids.length + step - 1,
    tokens: step === 0 ? ids : 'lastSample',
    want: want(sampler),
  });
  const whole: PlannedSequence = {
    slot: 0,
    firstPosition: 0,
    tokens: ids,
    want: { kind: 'logits', rows: ids.length },
  };
  const results = await Promise.all([
    team.step([whole, part(1, 0, greedySampler)]),
    team.step([part(2, 0, drawing)]),
    ...Array.from({ length: steps - 1 }, (_, at) => [
      team.step([part(1, at + 1, greedySampler)]),
      team.step([part(2, at + 1, drawing)]),
    ]).flat(),
  ]);
  const of = (slot: number) =>
    results.flatMap(({ sequences }) => sequences.filter((sequence) => sequence.slot === slot));
  return {
    logits: of(0)[0]?.logits ?? new Float32Array(),
    greedy: of(1).map(({ token }) => token ?? -1),
    drawn: of(2).map(({ token, logprob, alternatives }) => ({ token, logprob, alternatives })),
  };
}

const bits = (values: Float32Array) => Buffer.from(values.buffer).toString('hex');

function golden(name: string) {
  const tensors = readTensorFile(join(models, name, 'golden.safetensors'));
  return {
    ids: [...tensorOf(tensors, 'ids').values],
    tokens: [...tensorOf(tensors, 'tokens').values].slice(0, steps),
  };
}

/** Opens a model in the first of the processes, asks it, and closes it in order. */
async function ask(
  processes: readonly RankProcess[],
  name: string,
  options: TeamOptions,
): Promise<Answers> {
  const team = await RankTeam.open(processes, await tinyManifest(name), options);
  const followed = team.follow();
  try {
    return await answers(team, golden(name).ids);
  } finally {
    await team.close(followed);
  }
}

interface Split {
  readonly split: TeamOptions['split'];
  readonly ranks: number;
  readonly shares?: readonly number[];
}

const splits: readonly Split[] = [
  { split: 'tensor', ranks: 2 },
  { split: 'tensor', ranks: 2, shares: [1, 2] },
  { split: 'tensor', ranks: 3 },
  { split: 'tensor', ranks: 4 },
  { split: 'pipeline', ranks: 2 },
  { split: 'pipeline', ranks: 2, shares: [2, 1] },
  { split: 'pipeline', ranks: 3 },
];

/** Those that give a rank a head of each layer, or a layer. */
async function possibleSplits(name: string): Promise<Split[]> {
  const { layers } = buildModel(await tinyManifest(name)).spec;
  return splits.filter(({ split, ranks }) =>
    split === 'pipeline'
      ? layers.length >= ranks
      : layers.every(({ mixer }) => mixer.heads >= ranks),
  );
}

const exact = (answer: Answers) => ({ ...answer, logits: bits(answer.logits) });
const logitsOf = ({ logits }: Answers) => ({ shape: [logits.length], values: logits });
const titleOf = ({ split, ranks, shares }: Split) =>
  `${split} over ${ranks}, ${shares?.join(':') ?? 'even'}`;

/** Processes for as many ranks as there may be. */
function startRanks(addon: AddonName): RankProcess[] {
  const processes: RankProcess[] = [];
  beforeAll(() => {
    for (let rank = 0; rank < 4; rank++) processes.push(new RankProcess(child, addon));
  });
  afterAll(() => Promise.all(processes.map((process) => process.end())));
  return processes;
}

describe.each(['cpu', 'mlx'] as const)('tiny models split over ranks, on %s', (executor) => {
  const processes = startRanks(executor);

  test.each(names)('%s, precise', { timeout: 60_000 }, async (name) => {
    const options = { executor, precise: true };
    const one = await ask(processes.slice(0, 1), name, { ...options, split: 'tensor' });
    expect(one.greedy).toEqual(golden(name).tokens);
    for (const kind of await possibleSplits(name)) {
      const several = await ask(processes.slice(0, kind.ranks), name, { ...options, ...kind });
      if (executor === 'cpu') {
        expect(exact(several), titleOf(kind)).toEqual(exact(one));
        continue;
      }
      expect(several.greedy, titleOf(kind)).toEqual(one.greedy);
      expect(worstDeviation(logitsOf(one), logitsOf(several)), titleOf(kind)).toBeLessThan(1e-4);
    }
  });
});

describe('tiny models split over ranks in fast mode', () => {
  const processes = startRanks('cpu');

  // What is quantized and what is not, in 4 bits and more, and with an odd number of layers.
  const fastNames = ['llama', 'gemma2-q4-g32', 'llama-mixed', 'phi3-q4-g64', 'qwen3-q4-g32'];
  test.each(fastNames)('%s, fast', { timeout: 60_000 }, async (name) => {
    const alone = { executor: 'cpu', split: 'tensor' } as const;
    const precise = await ask(processes.slice(0, 1), name, { ...alone, precise: true });
    const options = { executor: 'cpu', precise: false } as const;
    const one = await ask(processes.slice(0, 1), name, { ...alone, ...options });
    const lost = worstDeviation(logitsOf(precise), logitsOf(one));
    for (const kind of await possibleSplits(name)) {
      const several = await ask(processes.slice(0, kind.ranks), name, { ...options, ...kind });
      if (kind.split === 'pipeline') expect(exact(several), titleOf(kind)).toEqual(exact(one));
      // Parts that are rounded to 16 bits, and other last bits of 8 for it: no more than what the
      // mode itself loses, which is 0.1 to 0.2 here. A wrong part brings 1.
      const deviation = worstDeviation(logitsOf(one), logitsOf(several));
      expect(deviation, titleOf(kind)).toBeLessThan(lost + 0.05);
      expect(lost + 0.05).toBeLessThan(0.4);
    }
  });
});

// Its threads spin: where cores are short an answer takes many seconds.
describe("tiny models over MLX's ring", { timeout: 120_000 }, () => {
  const processes = startRanks('ring');

  test.each([
    ['cpu', 'tensor', 2],
    ['cpu', 'pipeline', 3],
    ['mlx', 'tensor', 2],
  ] as const)('%s, %s over %i ranks: one rank’s answers', async (executor, split, ranks) => {
    const options = { executor, split, precise: true, backend: 'unsealed-mlx-ring' } as const;
    const one = await ask(processes.slice(0, 1), 'smollm3', options);
    const several = await ask(processes.slice(0, ranks), 'smollm3', options);
    if (executor === 'cpu') expect(exact(several)).toEqual(exact(one));
    expect(several.greedy).toEqual(one.greedy);
    expect(worstDeviation(logitsOf(one), logitsOf(several))).toBeLessThan(1e-4);
  });

  test('the addon of users holds none of it', async () => {
    const options = { executor: 'cpu', precise: true, split: 'tensor' } as const;
    const plain = [0, 1].map(() => new RankProcess(child, 'cpu'));
    const opening = ask(plain, 'smollm3', { ...options, backend: 'unsealed-mlx-ring' });
    await expect(opening).rejects.toMatchObject({ code: 'group_unavailable' });
    await Promise.all(plain.map((process) => process.end()));
  });
});
