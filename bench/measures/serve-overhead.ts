import type { CideryServer } from '../peers/cidery-server.ts';
import { ownName } from '../recorder.ts';
import { median } from '../statistics.ts';
import { type Bench, withEngine } from './measure.ts';

const promptTokens = 64;
const tokens = 64;
const pairs = 5;

/**
 * What daemon, pipe and HTTP add to a token and to the first: a client's times less those that a
 * rank has by its own clock (`debug`), turn by turn with prompts of the same length.
 */
export async function measureOverhead(
  bench: Bench,
  server: CideryServer,
  round: number,
): Promise<void> {
  const { cidery, prompts, recorder, threads, precise, limitMs } = bench;
  const firsts: number[] = [];
  const tokenTimes: number[] = [];
  const needs = { threads, precise, sequences: 1, contextLength: 1_024 };
  await withEngine(bench, cidery, needs, async (engine) => {
    for (let pair = 0; pair < pairs; pair += 1) {
      const inside = await engine.generate([prompts.next(promptTokens)], tokens, limitMs);
      const { startedAt, times } = await server.stream(prompts.next(promptTokens), tokens, limitMs);
      const first = times[0] ?? Number.NaN;
      const last = times.at(-1) ?? Number.NaN;
      firsts.push(first - startedAt - inside.promptMs);
      tokenTimes.push((last - first - inside.generateMs) / (tokens - 1));
    }
  });
  const key = { subject: ownName, case: 'daemon and HTTP' } as const;
  recorder.record({ ...key, metric: 'added to the first' }, round, median(firsts));
  recorder.record({ ...key, metric: 'added to a token' }, round, median(tokenTimes));
}
