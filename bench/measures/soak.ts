import { seededNumbers } from '../../test/support/seeded-numbers.ts';
import { CideryServer } from '../peers/cidery-server.ts';
import { treeMemory } from '../processes/memory.ts';
import { ownName } from '../recorder.ts';
import { attempt, enginePeers, type Bench, type Measure } from './measure.ts';

const clients = 12;
const defaultSeconds = 1_200;
/** Share of the time after which caches and the processes' own heaps have grown to their size. */
const settledShare = 0.1;
const contextLength = 2_048;
/** Less than the load would keep: what fits stays, so the cache has to be full when it is over. */
const cachePositions = 3 * contextLength;
/** Texts that requests begin with: a part is in the cache when the next one comes. */
const conversations = 24;
const longestPrompt = 1_200;
const longestAnswer = 300;
const megabyte = 1e6;

/** Twelve clients come and go for a long time; what they leave behind is memory that leaks. */
export const soak: Measure = {
  name: 'soak',
  about: 'memory before and after 20 minutes of mixed load (--cases: seconds)',
  rounds: 1,
  peers: enginePeers,
  async round(bench, round) {
    const seconds = bench.cases?.[0] ?? defaultSeconds;
    const name = `${seconds} s of mixed load`;
    await attempt(bench, ownName, name, async () => {
      const needs = {
        threads: bench.threads,
        precise: bench.precise,
        sequences: clients,
        contextLength,
      };
      const cache = await bench.cidery.cacheBytes(cachePositions, bench.precise);
      const server = await CideryServer.start(bench.cidery, needs, ['--kv-memory', `${cache}`]);
      try {
        await load(bench, round, name, server, seconds * 1_000);
      } finally {
        await server.close();
      }
    });
  },
};

async function load(
  bench: Bench,
  round: number,
  name: string,
  server: CideryServer,
  forMs: number,
): Promise<void> {
  const texts = bench.prompts.many(conversations, longestPrompt);
  const startedAt = performance.now();
  const counts = { answered: 0, left: 0 };
  const elapsed = () => performance.now() - startedAt;
  const running = Promise.all(
    Array.from({ length: clients }, async (_, index) => {
      const random = seededNumbers(index + 1);
      while (elapsed() < forMs) await oneRequest(bench, server, texts, random, counts);
    }),
  );
  const settled = new Promise((resolve) => setTimeout(resolve, forMs * settledShare));
  await Promise.race([settled, running]);
  const before = await treeMemory(server.pid);
  await running;
  const after = await treeMemory(server.pid);
  const key = { subject: ownName, case: name } as const;
  bench.recorder.record({ ...key, metric: 'answers' }, round, counts.answered);
  bench.recorder.record({ ...key, metric: 'cancelled' }, round, counts.left);
  if (before === null || after === null) {
    return bench.recorder.absent(ownName, name, 'this system has no smaps_rollup');
  }
  bench.recorder.record({ ...key, metric: 'memory' }, round, before / megabyte);
  bench.recorder.record({ ...key, metric: 'memory at the end' }, round, after / megabyte);
}

/** Long or short, read to its end or left in the middle; mostly of a conversation that is known. */
async function oneRequest(
  bench: Bench,
  server: CideryServer,
  texts: readonly number[][],
  random: (limit: number) => number,
  counts: { answered: number; left: number },
): Promise<void> {
  const text = texts[random(texts.length)] ?? [];
  const isLong = random(8) === 0;
  const prompt = text.slice(0, 1 + random(isLong ? longestPrompt : 100));
  const tokens = 1 + random(isLong ? longestAnswer : 40);
  const leaving = new AbortController();
  let left = random(4) === 0 ? random(tokens) : tokens;
  const onEvent = () => {
    if (left-- <= 0) leaving.abort();
  };
  try {
    await server.stream(prompt, tokens, bench.limitMs, { onEvent, signal: leaving.signal });
    counts.answered += 1;
  } catch (error) {
    if (!leaving.signal.aborted) throw error;
    counts.left += 1;
  }
}
