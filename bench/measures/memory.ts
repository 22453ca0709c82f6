import { stat } from 'node:fs/promises';
import { CideryServer } from '../peers/cidery-server.ts';
import type { Subject } from '../peers/subject.ts';
import { peakMemory } from '../processes/memory.ts';
import { ownName } from '../recorder.ts';
import { attempt, enginePeers, type Bench, type Measure, withEngine } from './measure.ts';

const sequences = 4;
const defaultPositions = 2_048;
const tokens = 32;
const megabyte = 1e6;

/** The most that serving takes: daemon and rank together, as proportional set size. */
export const memory: Measure = {
  name: 'memory',
  about: 'peak PSS of daemon and rank with 4 sequences of 2048 positions',
  rounds: 1,
  peers: enginePeers,
  async round(bench, round) {
    const { recorder, precise, cidery } = bench;
    const positions = bench.cases?.[0] ?? defaultPositions;
    const prompts = bench.prompts.many(sequences, positions - tokens - 1);
    const name = `${sequences} x ${positions} positions`;
    for (const subject of bench.subjects) {
      await attempt(bench, subject.name, name, async () => {
        const bytes = await peakOf(bench, subject, prompts, positions);
        if (bytes === null) {
          recorder.absent(subject.name, name, 'this system has no smaps_rollup');
          return;
        }
        const key = { subject: subject.name, case: name } as const;
        recorder.record({ ...key, metric: 'memory' }, round, bytes / megabyte);
        if (subject.name !== ownName) return;
        const cache = sequences * (await cidery.cacheBytes(positions, precise));
        const file = (await stat(cidery.model)).size;
        const beyond = (bytes - file - cache) / megabyte;
        recorder.record({ ...key, metric: 'beyond file and KV' }, round, beyond);
      });
    }
  },
};

async function peakOf(
  bench: Bench,
  subject: Subject,
  prompts: readonly number[][],
  positions: number,
): Promise<number | null> {
  const { threads, precise, limitMs, cidery } = bench;
  const needs = { threads, precise, sequences, contextLength: positions };
  if (subject.name !== ownName) {
    return withEngine(bench, subject, needs, (engine) =>
      peakMemory(engine.pid, engine.generate(prompts, tokens, limitMs)),
    );
  }
  const server = await CideryServer.start(cidery, needs);
  try {
    const clients = prompts.map((ids) => server.stream(ids, tokens, limitMs));
    return await peakMemory(server.pid, Promise.all(clients));
  } finally {
    await server.close();
  }
}
