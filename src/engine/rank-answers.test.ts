import { beforeAll, describe, expect, test } from 'vitest';
import { greedyOptions } from '../../test/support/requests.ts';
import { type OptionChanges, RankSession } from '../../test/support/rank-session.ts';
import type { FromRank } from './protocol.ts';

/** What requests get from the rank on the real addon: a tiny model of 131 tokens, 512 positions. */

const vocabulary = 131;
const contextLength = 512;
const session = new RankSession();

beforeAll(async () => {
  const opened = await session.open('llama');
  expect(opened).toMatchObject({ type: 'opened', contextLength, vocabulary });
});

function prompt(length: number, seed: number): number[] {
  return Array.from({ length }, (_, index) => (index * 7 + seed * 13 + 3) % vocabulary);
}

async function idsOf(ids: readonly number[], changes: OptionChanges = {}): Promise<number[]> {
  return (await session.generate(ids, changes)).choices[0]?.ids ?? [];
}

/** Requests of many kinds: each must be answered the same in any company. */
const mixed: readonly (readonly [string, readonly number[], OptionChanges])[] = [
  ['greedy', prompt(9, 1), { maxTokens: 20 }],
  ['a long prompt', prompt(300, 2), { maxTokens: 10 }],
  ['warm', prompt(5, 3), { maxTokens: 20, sampling: { temperature: 0.8, seed: '11' } }],
  [
    'top-k and top-p',
    prompt(17, 4),
    { maxTokens: 20, sampling: { temperature: 1.2, topK: 20, topP: 0.9, seed: '12' } },
  ],
  ['min-p', prompt(3, 5), { maxTokens: 20, sampling: { temperature: 1, minP: 0.02, seed: '13' } }],
  [
    'penalties',
    prompt(30, 6),
    {
      maxTokens: 20,
      sampling: {
        temperature: 0.7,
        seed: '14',
        repetitionPenalty: 1.3,
        presencePenalty: 0.5,
        frequencyPenalty: 0.4,
      },
    },
  ],
  ['one token', [0], { maxTokens: 1 }],
  ['a bias', prompt(12, 7), { maxTokens: 20, sampling: { logitBias: [{ token: 3, value: 2 }] } }],
  ['three choices', prompt(8, 8), { maxTokens: 12, choices: 3, sampling: { temperature: 1 } }],
];

describe('the same request', () => {
  const alone = new Map<string, number[][]>();
  beforeAll(async () => {
    for (const [name, ids, changes] of mixed) {
      const { choices } = await session.generate(ids, changes);
      alone.set(
        name,
        choices.map((choice) => choice.ids),
      );
    }
  });

  test.each([0, 1, 7])('goes on behind its first %i tokens as if nothing had been', async (cut) => {
    for (const [name, ids, changes] of mixed) {
      const whole = alone.get(name) ?? [];
      const first = whole.map((choice) => choice.slice(0, cut));
      const { choices, usage } = await session.generate(ids, changes, {
        promptIds: [...ids],
        choices: first.map((some, index) => ({
          ids: some,
          generated: some.length,
          textLength: 0,
          // One of several may have ended.
          finished: index === 2,
        })),
      });
      const rest = whole.map((choice, index) => (index === 2 ? [] : choice.slice(cut)));
      expect([name, choices.map((choice) => choice.ids)]).toEqual([name, rest]);
      const all = whole.map((choice, index) => (index === 2 ? cut : choice.length));
      expect(usage.generatedTokens).toBe(all.reduce((sum, count) => sum + count, 0));
    }
  });

  test('gives the same tokens beside others as alone', async () => {
    const together = await Promise.all(
      mixed.map(([, ids, changes]) => session.generate(ids, changes)),
    );
    expect(together.map(({ choices }) => choices.map(({ ids }) => ids))).toEqual(
      mixed.map(([name]) => alone.get(name)),
    );
  });

  test('gives them in any order of coming, while others come and go', async () => {
    const running = mixed.toReversed().map(async ([name, ids, changes], index) => {
      await session.until(() => true);
      const passer = session.start(prompt(20 + index, 50 + index), { maxTokens: 200 });
      const { choices } = await session.generate(ids, changes);
      session.cancel(passer);
      return [name, choices.map((choice) => choice.ids)] as const;
    });
    session.rank.receive({ type: 'ping', number: 1 });
    for (const [name, got] of await Promise.all(running)) {
      expect([name, got]).toEqual([name, alone.get(name)]);
    }
  });

  test('draws anew with another seed, and each choice on its own', async () => {
    const ids = prompt(8, 9);
    const draw = (seed: string) =>
      idsOf(ids, { maxTokens: 24, sampling: { temperature: 1, seed } });
    const [first, again, other] = [await draw('5'), await draw('5'), await draw('6')];
    expect(first).toEqual(again);
    expect(first).not.toEqual(other);
    const three = alone.get('three choices') ?? [];
    expect(new Set(three.map(String)).size).toBe(3);
  });

  test('a seed of 64 bits counts whole', async () => {
    const ids = prompt(8, 10);
    const draw = (seed: bigint) =>
      idsOf(ids, { maxTokens: 24, sampling: { temperature: 1, seed: String(seed) } });
    const low = await draw(1n);
    expect(await draw(1n + (1n << 33n))).not.toEqual(low);
    expect((await draw((1n << 64n) - 1n)).length).toBe(24);
  });
});

describe('a growing conversation', () => {
  test('computes only what is new', async () => {
    let history = prompt(60, 20);
    for (let turn = 0; turn < 3; turn++) {
      const { choices, usage } = await session.generate(history, { maxTokens: 10 });
      // The last token drawn has not been computed, and the last of a prompt always is.
      expect(usage.cachedTokens).toBe(turn === 0 ? 0 : history.length - 6);
      history = [...history, ...(choices[0]?.ids ?? []), ...prompt(5, 30 + turn)];
    }
  });

  test('answers as one that was never seen', async () => {
    const start = prompt(50, 21);
    const answer = await idsOf(start, { maxTokens: 12 });
    const whole = [...start, ...answer, ...prompt(4, 22)];
    const continued = await idsOf(whole, { maxTokens: 12 });
    const fresh = new RankSession();
    await fresh.open('llama');
    const { choices, usage } = await fresh.generate(whole, { maxTokens: 12 });
    expect(usage.cachedTokens).toBe(0);
    expect(choices[0]?.ids).toEqual(continued);
  });
});

describe('an answer ends', () => {
  test('at the most tokens, at none, and at the end of the context', async () => {
    const [seven, none] = [
      await session.generate(prompt(4, 40), { maxTokens: 7 }),
      await session.generate(prompt(4, 40), { maxTokens: 0 }),
    ];
    expect([seven.choices[0]?.ids.length, seven.choices[0]?.finish]).toEqual([7, 'length']);
    expect([none.choices[0]?.ids, none.choices[0]?.finish]).toEqual([[], 'length']);
    for (const asked of [null, 1_000]) {
      const full = await session.generate(prompt(contextLength - 5, 41), { maxTokens: asked });
      expect([full.choices[0]?.ids.length, full.choices[0]?.finish]).toEqual([5, 'length']);
    }
    const whole = await session.generate(prompt(contextLength, 41), { maxTokens: null });
    expect([whole.choices[0]?.ids, whole.choices[0]?.finish]).toEqual([[], 'length']);
  });

  test('at a token that ends it, unless that is to be ignored', async () => {
    const eos = new RankSession();
    await eos.open('llama-hf');
    const forced = { maxTokens: 3, sampling: { logitBias: [{ token: 3, value: 100 }] } };
    const ended = await eos.generate([1], { ...forced, ignoreEos: false });
    expect(ended.choices).toEqual([{ ids: [], logprobs: [], finish: 'stop' }]);
    expect(ended.usage.generatedTokens).toBe(1);
    const ignored = await eos.generate([1], { ...forced, ignoreEos: true });
    expect(ignored.choices).toEqual([{ ids: [3, 3, 3], logprobs: [], finish: 'length' }]);
  });
});

describe('a request is refused', () => {
  test.each<[string, number[], OptionChanges, string]>([
    ['a prompt longer than the context', prompt(contextLength + 1, 1), {}, 'prompt_too_long'],
    ['an id outside the vocabulary', [1, vocabulary], {}, 'token_unknown'],
    [
      'a bias on such an id',
      [1],
      { sampling: { logitBias: [{ token: vocabulary, value: 1 }] } },
      'token_unknown',
    ],
    ['no id at all', [], {}, 'prompt_too_large'],
    ['a seed that is no number', [1], { sampling: { seed: 'x' } }, 'prompt_too_large'],
  ])('%s', async (_, ids, changes, code) => {
    expect(await session.refusal(ids, changes)).toBe(code);
    expect(session.left).toEqual([]);
  });

  test('text, as this model has no tokenizer', async () => {
    const refused = session.until(({ type }) => type === 'error');
    session.rank.receive({
      type: 'generate',
      id: 'text',
      input: { kind: 'text', text: 'hello', special: false },
      options: greedyOptions,
      resume: null,
    });
    expect(await refused).toMatchObject({ fault: { code: 'tokenizer_missing' } });
  });
});

describe('sampling', () => {
  test('a bias forces and forbids', async () => {
    const ids = prompt(6, 60);
    const free = await idsOf(ids, { maxTokens: 8 });
    const forced = { sampling: { logitBias: [{ token: 77, value: 100 }] } };
    expect(await idsOf(ids, { maxTokens: 8, ...forced })).toEqual(Array(8).fill(77));
    const forbidden = new Set(free);
    const logitBias = [...forbidden].map((token) => ({ token, value: -100 }));
    const others = await idsOf(ids, { maxTokens: 8, sampling: { logitBias } });
    expect(others.filter((id) => forbidden.has(id))).toEqual([]);
  });

  test('top-k of one, and a top-p of nothing, are greedy', async () => {
    const ids = prompt(6, 61);
    const greedy = await idsOf(ids, { maxTokens: 12 });
    const warm = { temperature: 2, seed: '3' };
    expect(await idsOf(ids, { maxTokens: 12, sampling: { ...warm, topK: 1 } })).toEqual(greedy);
    expect(await idsOf(ids, { maxTokens: 12, sampling: { ...warm, topP: 0 } })).toEqual(greedy);
    expect(await idsOf(ids, { maxTokens: 12, sampling: { ...warm, minP: 1 } })).toEqual(greedy);
  });

  test('a presence penalty that is large repeats nothing', async () => {
    const ids = [5];
    const answer = await idsOf(ids, { maxTokens: 40, sampling: { presencePenalty: 1_000 } });
    expect(new Set(answer).size).toBe(40);
  });

  test.each([
    { temperature: Number.MAX_VALUE },
    { temperature: 1e-40 },
    { temperature: 1, topK: Number.MAX_SAFE_INTEGER },
    { repetitionPenalty: Number.MAX_VALUE },
    { repetitionPenalty: Number.MIN_VALUE },
    { temperature: 1, presencePenalty: Number.MAX_VALUE, frequencyPenalty: -Number.MAX_VALUE },
    { logitBias: [{ token: 1, value: Number.MAX_VALUE }] },
    { logitBias: Array.from({ length: 131 }, (_, token) => ({ token, value: -1e300 })) },
  ])('%j costs nobody anything', async (sampling) => {
    expect((await idsOf([1, 2], { sampling, logprobs: 1_000_000 })).length).toBe(8);
    expect(session.left).toEqual([]);
  });
});

describe('logprobs', () => {
  test('are those of the whole distribution, the chosen one among them', async () => {
    const { choices } = await session.generate(prompt(6, 70), {
      maxTokens: 6,
      logprobs: vocabulary,
    });
    const entries = choices[0]?.logprobs ?? [];
    expect(entries.map(({ token }) => token)).toEqual(choices[0]?.ids);
    for (const { token, logprob, alternatives } of entries) {
      expect(alternatives.length).toBe(vocabulary);
      const sum = alternatives.reduce((total, each) => total + Math.exp(each.logprob), 0);
      expect(sum).toBeCloseTo(1, 4);
      expect(new Set(alternatives.map((each) => each.token)).size).toBe(vocabulary);
      const sorted = alternatives.map((each) => each.logprob);
      expect(sorted).toEqual(sorted.toSorted((a, b) => b - a));
      // Greedy: the first of them is the chosen one.
      expect(alternatives[0]).toMatchObject({ token, logprob });
    }
  });

  test('are there without alternatives, and only when they are asked for', async () => {
    const with0 = await session.generate(prompt(6, 71), { logprobs: 0 });
    const counts = with0.choices[0]?.logprobs.map(({ alternatives }) => alternatives.length);
    expect(counts).toEqual(Array(8).fill(0));
    const without = await session.generate(prompt(6, 71));
    expect(without.choices[0]?.logprobs).toEqual([]);
    expect(without.choices[0]?.ids).toEqual(with0.choices[0]?.ids);
  });
});

describe('fairness and cancellation', () => {
  test('a cancelled sequence is gone within a step, and its slot serves the next', async () => {
    const ids = Array.from({ length: 8 }, (_, index) =>
      session.start(prompt(10, 80 + index), { maxTokens: 400 }),
    );
    await session.until(({ type }) => type === 'delta');
    expect((await session.ping()).running).toBe(8);
    const started = session.until(({ type }) => type === 'started');
    const waiting = session.generate(prompt(10, 90), { maxTokens: 2 });
    await started;
    expect((await session.ping()).waiting).toBe(1);
    const cancelled = ids.slice(0, 7);
    const late: FromRank[] = [];
    for (const id of cancelled) session.cancel(id);
    const stop = session.onMessage((message) => {
      if ('id' in message && cancelled.includes(message.id)) late.push(message);
    });
    const { steps } = await session.ping();
    await waiting;
    // Two tokens: admitted at the next step, not after the 400 of the others. Some steps go by
    // while messages are under way.
    expect((await session.ping()).steps - steps).toBeLessThan(40);
    session.cancel(ids[7] ?? '');
    stop();
    expect(late).toEqual([]);
    await session.generate([1], { maxTokens: 1 });
    expect(await session.ping()).toMatchObject({ running: 0, waiting: 0 });
  });

  test('a long prompt does not hold up an answer that is under way', async () => {
    const short = session.start(prompt(4, 95), { maxTokens: 400 });
    await session.until((message) => message.type === 'delta' && message.id === short);
    let between = 0;
    const stop = session.onMessage((message) => {
      if (message.type === 'delta' && message.id === short) between += 1;
    });
    // Six prompts of 500 tokens are twelve steps of 256.
    const long = Array.from({ length: 6 }, (_, index) =>
      session.generate(prompt(500, 100 + index), { maxTokens: 1 }),
    );
    await Promise.all(long);
    stop();
    session.cancel(short);
    expect(between).toBeGreaterThan(8);
  });
});
