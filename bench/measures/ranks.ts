import { type SplitKind, splitKinds } from '../../src/model/split/plan.ts';
import { ownName } from '../recorder.ts';
import { perSecond } from '../statistics.ts';
import { attempt, type Bench, type Measure, wantedCases, withEngine } from './measure.ts';

const counts = [1, 2, 3, 4] as const;
const promptTokens = 512;
const tokens = 64;
/** As many as stages of the largest pipeline: each has one to work on. */
const sequences = 4;

interface Setting {
  readonly name: string;
  readonly ranks: number;
  readonly split: SplitKind | null;
  /** Of each rank. */
  readonly threads: number;
}

/**
 * One model over several ranks of one thread each, against one rank with as many threads (what
 * splitting costs) and against one rank with one thread (what it brings).
 */
export const ranks: Measure = {
  name: 'ranks',
  about: '1 to 4 ranks, tensor and pipeline: one sequence and four; --threads does not count',
  rounds: 3,
  async round(bench, round) {
    for (const setting of settingsOf(bench)) await measureSetting(bench, round, setting);
    for (const { name, ranks: count, split } of settingsOf(bench)) {
      if (split === null) continue;
      const whole = nameOf(1, null, count);
      compare(bench, round, { name, than: whole, metric: 'decode' });
      compare(bench, round, { name, than: whole, metric: 'prompt' });
      compare(bench, round, { name, than: nameOf(1, null, 1), metric: 'total' });
    }
  },
};

function settingsOf(bench: Bench): Setting[] {
  const wanted = wantedCases(bench, counts);
  const whole = [...new Set([1, ...wanted])];
  const alone = whole.map((threads) => ({ ranks: 1, split: null, threads }));
  const divided = wanted
    .filter((count) => count > 1)
    .flatMap((count) => splitKinds.map((split) => ({ ranks: count, split, threads: 1 })));
  return [...alone, ...divided].map((setting) => ({
    ...setting,
    name: nameOf(setting.ranks, setting.split, setting.threads),
  }));
}

function nameOf(count: number, split: Setting['split'], threads: number): string {
  const each = threads === 1 ? '1 thread' : `${threads} threads`;
  return count === 1 ? `1 rank, ${each}` : `${count} ranks, ${split}, ${each} each`;
}

async function measureSetting(bench: Bench, round: number, setting: Setting): Promise<void> {
  const { recorder, precise, limitMs, cidery, prompts } = bench;
  const { name, threads, ranks: count, split } = setting;
  const needs = { threads, precise, sequences, contextLength: 1_024, ranks: count, split };
  const key = { subject: ownName, case: name } as const;
  await attempt(bench, ownName, name, () =>
    withEngine(bench, cidery, needs, async (engine) => {
      const one = await engine.generate([prompts.next(promptTokens)], tokens, limitMs);
      const prompt = perSecond(promptTokens, one.promptMs);
      recorder.record({ ...key, metric: 'prompt' }, round, prompt);
      recorder.record({ ...key, metric: 'decode' }, round, perSecond(tokens - 1, one.generateMs));
      const several = await engine.generate(prompts.many(sequences, 16), tokens, limitMs);
      const total = perSecond(sequences * tokens, several.promptMs + several.generateMs);
      recorder.record({ ...key, metric: 'total' }, round, total);
    }),
  );
}

function compare(
  { recorder }: Bench,
  round: number,
  {
    name,
    than,
    metric,
  }: {
    readonly name: string;
    readonly than: string;
    readonly metric: 'decode' | 'prompt' | 'total';
  },
): void {
  const split = recorder.value({ subject: ownName, case: name, metric }, round);
  const alone = recorder.value({ subject: ownName, case: than, metric }, round);
  if (split === null || alone === null) return;
  const key = { subject: ownName, case: `${metric}, ${name}, against ${than}` } as const;
  recorder.record({ ...key, metric: 'against one rank' }, round, split / alone);
}
