import { perSecond } from '../statistics.ts';
import {
  attempt,
  enginePeers,
  type Measure,
  recordRoof,
  recordShare,
  wantedCases,
  withEngine,
} from './measure.ts';

const lengths = [64, 512, 2_048] as const;

/** Prompt tokens a second, from the request to the first token of the answer. */
export const prompt: Measure = {
  name: 'prompt',
  about: 'prompt tokens a second, prompts of 64, 512 and 2048',
  rounds: 5,
  peers: enginePeers,
  async round(bench, round) {
    const { recorder, threads, precise, contextLength, limitMs, facts } = bench;
    const cases = wantedCases(bench, lengths)
      .filter((length) => length < contextLength)
      .map((length) => ({ name: `prompt ${length}`, ids: bench.prompts.next(length) }));
    const roof = await recordRoof(bench, round, 'multiply', threads);
    for (const subject of bench.subjects) {
      const needs = { threads, precise, sequences: 1, contextLength };
      await attempt(bench, subject.name, 'all prompts', () =>
        withEngine(bench, subject, needs, async (engine) => {
          for (const { name, ids } of cases) {
            await attempt(bench, subject.name, name, async () => {
              const { promptMs } = await engine.generate([ids], 1, limitMs);
              const key = { subject: subject.name, case: name, metric: 'prompt' } as const;
              recorder.record(key, round, perSecond(ids.length, promptMs));
            });
          }
        }),
      );
    }
    const share = 'share of the multiply roof';
    for (const { name } of cases) {
      recordShare(bench, round, name, { metric: 'prompt', share, amount: facts.multiplies, roof });
    }
  },
};
