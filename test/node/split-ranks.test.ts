import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, describe, expect, test } from 'vitest';
import type { CideryNode } from '../../src/node/node.ts';
import { optionsWith } from '../support/rank-session.ts';
import { admitTinyWithLongContext, eventually, isAlive, realNode } from '../support/real-node.ts';
import { starterHome, starterModel } from '../support/starter-model.ts';

/** One model over real ranks, and what becomes of its answers when one of them comes to harm. */

const home = mkdtempSync(join(tmpdir(), 'cidery-split-'));
afterAll(() => rmSync(home, { recursive: true }));
const never = new AbortController().signal;
const open: CideryNode[] = [];
afterEach(async () => {
  await Promise.all(open.splice(0).map((node) => node.close()));
});

function nodeWith(ranks: number, split: 'tensor' | 'pipeline', where = home): CideryNode {
  // The bits of a step on `mlx` depend on its shape, and answers are compared.
  const defaults = { executor: 'cpu', ranks, split } as const;
  const node = realNode({ home: where, defaults });
  open.push(node);
  return node;
}

function pidsOf(node: CideryNode): number[] {
  return node.state().instances.flatMap(({ ranks }) => ranks.map(({ pid }) => pid ?? 0));
}

/** The ids of a long sampled answer; `onToken` hears of each. */
async function answer(node: CideryNode, model: string, seed: number, onToken = () => {}) {
  const ids: number[] = [];
  const options = optionsWith({
    maxTokens: 400,
    sampling: { temperature: 0.9, seed: `${seed}` },
  });
  const input = { kind: 'ids', ids: [seed, 1, 2] } as const;
  const { events } = await node.generate(
    { model, input: { ...input, ids: [...input.ids] }, options },
    never,
  );
  for await (const event of events) {
    if (event.type !== 'delta') continue;
    ids.push(...event.ids);
    onToken();
  }
  return ids;
}

const seeds = [3, 4, 5];
const expected = (async () => {
  const node = realNode({ home, defaults: { executor: 'cpu' } });
  try {
    const model = await admitTinyWithLongContext(node, 'llama', home);
    return { model, ids: await Promise.all(seeds.map((seed) => answer(node, model, seed))) };
  } finally {
    await node.close();
  }
})();

describe.each([
  ['tensor', 3],
  ['pipeline', 2],
] as const)('split by %s over %i ranks', (split, ranks) => {
  test('one rank’s answers come, with each rank’s memory', async () => {
    const node = nodeWith(ranks, split);
    const { model, ids } = await expected;
    expect(await Promise.all(seeds.map((seed) => answer(node, model, seed)))).toEqual(ids);
    const [instance] = node.state().instances;
    expect(instance?.plan).toMatchObject({ kind: split, ranks });
    expect(instance?.ranks.map(({ rank, state }) => [rank, state])).toEqual(
      Array.from({ length: ranks }, (_, rank) => [rank, 'ready']),
    );
    expect(instance?.ranks.every(({ memoryBytes }) => memoryBytes > 0)).toBe(true);
  });

  test.each(
    Array.from({ length: ranks }, (_, rank) => rank).flatMap((rank) => [
      [rank, 'SIGKILL'] as const,
      [rank, 'SIGSTOP'] as const,
    ]),
  )(
    'rank %i gets %s in the middle of answers, and they are the same',
    async (rank, signal) => {
      const node = nodeWith(ranks, split);
      const { model, ids } = await expected;
      let tokens = 0;
      const answers = seeds.map((seed) => answer(node, model, seed, () => (tokens += 1)));
      await eventually('some tokens', () => tokens > 20);
      const former = pidsOf(node);
      process.kill(former[rank] ?? 0, signal);
      expect(await Promise.all(answers)).toEqual(ids);
      const now = pidsOf(node);
      expect(now.length).toBe(ranks);
      expect(now.filter((pid) => former.includes(pid))).toEqual([]);
      expect(former.filter(isAlive)).toEqual([]);
    },
    60_000,
  );
});

test('the starter model has its known answer, on one rank and on three', async () => {
  for (const ranks of [1, 3]) {
    const node = nodeWith(ranks, 'tensor', await starterHome());
    const instance = await node.ready(starterModel, never);
    expect(instance.plan.ranks).toBe(ranks);
  }
});
