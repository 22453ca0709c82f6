import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, test } from 'vitest';
import { z } from 'zod';
import { RankSession } from '../../test/support/rank-session.ts';

setFlagsFromString('--expose-gc');
const collect = z.function({ output: z.void() }).parse(runInNewContext('gc'));

/** Steps with sequences that come, go, copy each other's prefixes and are cancelled. */
async function steps(session: RankSession, count: number): Promise<void> {
  const from = (await session.ping()).steps;
  for (let round = 0; (await session.ping()).steps - from < count; round++) {
    const shared = Array.from({ length: 40 }, (_, index) => (index + round) % 131);
    const dropped = session.start([...shared, 5], { maxTokens: 400 });
    await Promise.all(
      Array.from({ length: 10 }, (_, index) =>
        session.generate([...shared, index, 7], {
          maxTokens: 20 + index,
          logprobs: index % 3 === 0 ? 5 : null,
          sampling: { temperature: index % 2 },
        }),
      ),
    );
    session.cancel(dropped);
  }
}

async function measure(session: RankSession) {
  await session.generate([1], { maxTokens: 1 });
  collect();
  const { memory } = await session.ping();
  return { liveArrays: memory.liveArrays, mebibytes: process.memoryUsage.rss() / 2 ** 20 };
}

test('two thousand steps leave arrays and resident memory where they were', async () => {
  const session = new RankSession();
  await session.open('llama', { slots: 4 });
  await steps(session, 1_500);
  const before = await measure(session);
  await steps(session, 2_000);
  const after = await measure(session);
  expect(after.liveArrays).toBe(before.liveArrays);
  expect(after.mebibytes - before.mebibytes).toBeLessThan(12);
}, 120_000);
