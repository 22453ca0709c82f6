import { type SplitKind, splitKinds } from '../../src/model/split/plan.ts';
import type { Subject } from '../peers/subject.ts';
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
 * splitting costs), against one rank with one thread (what it brings), and against the same ranks
 * over MLX's ring, in turns.
 */
export const ranks: Measure = {
  name: 'ranks',
  about: '1 to 4 ranks, tensor and pipeline: one sequence and four; --threads does not count',
  rounds: 3,
  peers: ['ring'],
  async round(bench, round) {
    for (const setting of settingsOf(bench)) await measureSetting(bench, round, setting);
    for (const { name, ranks: count, split } of settingsOf(bench)) {
      if (split === null) continue;
      const whole = nameOf(1, null, count);
      for (const { name: subject } of bench.subjects) {
        compare(bench, round, { subject, name, than: whole, metric: 'decode' });
        compare(bench, round, { subject, name, than: whole, metric: 'prompt' });
        compare(bench, round, { subject, name, than: nameOf(1, null, 1), metric: 'total' });
      }
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

/** The same prompts for all subjects; which is first changes from round to round. */
async function measureSetting(bench: Bench, round: number, setting: Setting): Promise<void> {
  const prompts = {
    one: bench.prompts.next(promptTokens),
    several: bench.prompts.many(sequences, 16),
  };
  // A rank alone talks to nobody.
  const subjects = bench.subjects.filter(({ name }) => setting.ranks > 1 || name === ownName);
  for (const subject of round % 2 === 0 ? subjects : subjects.toReversed()) {
    await attempt(bench, subject.name, setting.name, () =>
      measureSubject(bench, round, setting, subject, prompts),
    );
  }
}

interface SettingPrompts {
  readonly one: number[];
  readonly several: number[][];
}

async function measureSubject(
  bench: Bench,
  round: number,
  setting: Setting,
  subject: Subject,
  prompts: SettingPrompts,
): Promise<void> {
  const { recorder, precise, limitMs } = bench;
  const { name, threads, ranks: count, split } = setting;
  const needs = { threads, precise, sequences, contextLength: 1_024, ranks: count, split };
  const key = { subject: subject.name, case: name } as const;
  await withEngine(bench, subject, needs, async (engine) => {
    const one = await engine.generate([prompts.one], tokens, limitMs);
    const prompt = perSecond(promptTokens, one.promptMs);
    const decode = perSecond(tokens - 1, one.generateMs);
    recorder.record({ ...key, metric: 'prompt' }, round, prompt);
    recorder.record({ ...key, metric: 'decode' }, round, decode);
    const several = await engine.generate(prompts.several, tokens, limitMs);
    const total = perSecond(sequences * tokens, several.promptMs + several.generateMs);
    recorder.record({ ...key, metric: 'total' }, round, total);
    const speeds = [prompt, decode, total].map((speed) => speed.toFixed(1)).join(', ');
    bench.note(`${subject.name}, ${name}: prompt, decode, four at once ${speeds} tok/s`);
  });
}

function compare(
  { recorder }: Bench,
  round: number,
  {
    subject,
    name,
    than,
    metric,
  }: {
    readonly subject: string;
    readonly name: string;
    readonly than: string;
    readonly metric: 'decode' | 'prompt' | 'total';
  },
): void {
  const split = recorder.value({ subject, case: name, metric }, round);
  const alone = recorder.value({ subject: ownName, case: than, metric }, round);
  if (split === null || alone === null) return;
  const key = { subject, case: `${metric}, ${name}, against ${than}` } as const;
  recorder.record({ ...key, metric: 'against one rank' }, round, split / alone);
}
