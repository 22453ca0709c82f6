import { ownName } from '../recorder.ts';
import { CideryServer, type Stream } from '../peers/cidery-server.ts';
import type { Subject } from '../peers/subject.ts';
import { gaps, median, perSecond, quantile } from '../statistics.ts';
import {
  attempt,
  enginePeers,
  type Bench,
  type Measure,
  wantedCases,
  withEngine,
} from './measure.ts';
import { measureJoining } from './serve-joining.ts';
import { measureOverhead } from './serve-overhead.ts';

const clientCounts = [1, 4, 16] as const;
const promptTokens = 64;
const tokens = 64;
/** Holds every prompt and answer of this measure, joining included. */
const contextLength = 1_024;

/** Streaming clients over HTTP; peers, which have no server, run as many sequences in-process. */
export const serve: Measure = {
  name: 'serve',
  about: '1, 4 and 16 streaming clients over HTTP; joining a full batch; what HTTP adds',
  rounds: 3,
  peers: enginePeers,
  async round(bench, round) {
    const { threads, precise } = bench;
    const counts = wantedCases(bench, clientCounts);
    const loads = counts.map((count) => ({
      name: count === 1 ? '1 client' : `${count} clients`,
      prompts: bench.prompts.many(count, promptTokens),
    }));
    const needs = { threads, precise, sequences: Math.max(1, ...counts), contextLength };
    await attempt(bench, ownName, 'HTTP', async () => {
      const server = await CideryServer.start(bench.cidery, needs);
      try {
        await server.stream(bench.prompts.next(promptTokens), 8, bench.limitMs);
        for (const { name, prompts } of loads) {
          await attempt(bench, ownName, name, async () => {
            const streams = await Promise.all(
              prompts.map((ids) => server.stream(ids, tokens, bench.limitMs)),
            );
            recordStreams(bench, round, ownName, name, streams);
          });
        }
        await attempt(bench, ownName, 'joining', () => measureJoining(bench, server, round));
        await attempt(bench, ownName, 'overhead', () => measureOverhead(bench, server, round));
      } finally {
        await server.close();
      }
    });
    for (const subject of bench.subjects) {
      if (subject.name === ownName) continue;
      for (const load of loads) await peerStreams(bench, subject, round, load);
    }
  },
};

async function peerStreams(
  bench: Bench,
  subject: Subject,
  round: number,
  { name, prompts }: { readonly name: string; readonly prompts: readonly number[][] },
): Promise<void> {
  const { threads, precise, recorder } = bench;
  if (prompts.length > subject.maxSequences) {
    recorder.absent(subject.name, name, `${subject.maxSequences} at once is what it takes`);
    return;
  }
  const needs = { threads, precise, sequences: prompts.length, contextLength };
  await attempt(bench, subject.name, name, () =>
    withEngine(bench, subject, needs, async (engine) => {
      const { times } = await engine.generate(prompts, tokens, bench.limitMs);
      const streams = times.map((row) => ({ startedAt: 0, times: row, tokens: row.length }));
      recordStreams(bench, round, subject.name, name, streams);
    }),
  );
}

function recordStreams(
  { recorder }: Bench,
  round: number,
  subject: string,
  name: string,
  streams: readonly Stream[],
): void {
  const startedAt = Math.min(...streams.map((stream) => stream.startedAt));
  const endedAt = Math.max(...streams.map(({ times }) => times.at(-1) ?? Number.NaN));
  const total = streams.reduce((sum, stream) => sum + stream.tokens, 0);
  const firsts = streams.map((stream) => (stream.times[0] ?? Number.NaN) - stream.startedAt);
  const between = streams.flatMap(({ times }) => gaps(times));
  const key = { subject, case: name };
  const speed = perSecond(total, endedAt - startedAt);
  recorder.record({ ...key, metric: 'total' }, round, speed);
  recorder.record({ ...key, metric: 'first token' }, round, median(firsts));
  recorder.record({ ...key, metric: 'first token p99' }, round, quantile(firsts, 0.99));
  recorder.record({ ...key, metric: 'gap p50' }, round, median(between));
  recorder.record({ ...key, metric: 'gap p99' }, round, quantile(between, 0.99));
}
