import { CideryError } from '../../src/base/error.ts';
import type { CideryServer } from '../peers/cidery-server.ts';
import { ownName } from '../recorder.ts';
import { gaps, median } from '../statistics.ts';
import type { Bench } from './measure.ts';

const others = 15;
/** More than they get to: they are cancelled after the last probe. */
const otherTokens = 900;
/** Tokens that all others have before the first probe, so that none is at its prompt. */
const settledTokens = 8;
const probes = 5;
const probePromptTokens = 16;
const probeTokens = 4;

/**
 * The time to the first token of a short prompt while fifteen others decode, in steps: a step is
 * the median gap between the others' tokens before the probe came.
 */
export async function measureJoining(
  bench: Bench,
  server: CideryServer,
  round: number,
): Promise<void> {
  const { recorder, limitMs } = bench;
  const arrivals: number[][] = Array.from({ length: others }, () => []);
  let settled: () => void = () => {};
  const allSettled = new Promise<void>((resolve) => (settled = resolve));
  const cancelled = new AbortController();
  const ended = new AbortController();
  const running = Promise.all(
    bench.prompts.many(others, probePromptTokens).map(async (ids, index) => {
      const onEvent = () => {
        arrivals[index]?.push(performance.now());
        if (arrivals.every(({ length }) => length >= settledTokens)) settled();
      };
      try {
        await server.stream(ids, otherTokens, limitMs, { onEvent, signal: cancelled.signal });
      } catch (error) {
        if (!cancelled.signal.aborted) throw error;
      } finally {
        ended.abort();
      }
    }),
  );
  const waits: number[] = [];
  try {
    await Promise.race([allSettled, running]);
    waits.push(...(await probeWaits(bench, server, arrivals, ended.signal)));
  } finally {
    cancelled.abort();
  }
  await running;
  if (waits.length === 0) throw new CideryError('bench_joining', 'one of the others ended first');
  const key = { subject: ownName, case: 'joining 15 others' } as const;
  recorder.record({ ...key, metric: 'wait in steps' }, round, median(waits));
}

async function probeWaits(
  bench: Bench,
  server: CideryServer,
  arrivals: readonly number[][],
  ended: AbortSignal,
): Promise<number[]> {
  const waits: number[] = [];
  for (let probe = 0; probe < probes && !ended.aborted; probe += 1) {
    const steps = arrivals.flatMap((times) => gaps(times.slice(-settledTokens)));
    const ids = bench.prompts.next(probePromptTokens);
    const { startedAt, times } = await server.stream(ids, probeTokens, bench.limitMs);
    const first = times[0];
    // Ended is checked after the probe: beside fewer than all others it says nothing.
    if (first === undefined || ended.aborted || steps.length === 0) continue;
    waits.push((first - startedAt) / median(steps));
  }
  return waits;
}
