import type { CideryServer } from '../peers/cidery-server.ts';
import { ownName } from '../recorder.ts';
import { median } from '../statistics.ts';
import { type Bench, withEngine } from './measure.ts';

const promptTokens = 64;
const tokens = 64;
const pairs = 7;

/**
 * What daemon, pipe and HTTP add. To the first token: a client's time less what the rank says that
 * the same prompt took. To a token: against a rank without a daemon (`debug`), turn by turn, as
 * the daemon may also slow the rank itself.
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
      const alone = await engine.generate([prompts.next(promptTokens)], tokens, limitMs);
      const served = await server.stream(prompts.next(promptTokens), tokens, limitMs);
      const first = served.times[0] ?? Number.NaN;
      const last = served.times.at(-1) ?? Number.NaN;
      firsts.push(first - served.startedAt - served.promptMs);
      tokenTimes.push((last - first - alone.generateMs) / (tokens - 1));
    }
  });
  const key = { subject: ownName, case: 'daemon and HTTP' } as const;
  recorder.record({ ...key, metric: 'added to the first' }, round, median(firsts));
  recorder.record({ ...key, metric: 'added to a token' }, round, median(tokenTimes));
}
