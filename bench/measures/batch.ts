import { perSecond } from '../statistics.ts';
import {
  attempt,
  enginePeers,
  type Measure,
  recordRoof,
  wantedCases,
  withEngine,
} from './measure.ts';

const sizes = [1, 4, 16, 64] as const;
/** Short, as this is about what is generated; the time of the prompts counts. */
const promptTokens = 16;
const tokens = 64;

/** Tokens a second of many sequences at once, all together, in one process without HTTP. */
export const batch: Measure = {
  name: 'batch',
  about: 'tokens a second of 1, 4, 16 and 64 sequences together, prompts of 16 included',
  rounds: 3,
  peers: enginePeers,
  async round(bench, round) {
    const { recorder, threads, precise, limitMs } = bench;
    await recordRoof(bench, round, 'read', threads);
    for (const size of wantedCases(bench, sizes)) {
      const name = size === 1 ? '1 sequence' : `${size} sequences`;
      const prompts = bench.prompts.many(size, promptTokens);
      const needs = { threads, precise, sequences: size, contextLength: 256 };
      for (const subject of bench.subjects) {
        if (size > subject.maxSequences) {
          recorder.absent(subject.name, name, `${subject.maxSequences} at once is what it takes`);
          continue;
        }
        await attempt(bench, subject.name, name, () =>
          withEngine(bench, subject, needs, async (engine) => {
            const { promptMs, generateMs } = await engine.generate(prompts, tokens, limitMs);
            const speed = perSecond(size * tokens, promptMs + generateMs);
            recorder.record({ subject: subject.name, case: name, metric: 'total' }, round, speed);
          }),
        );
      }
    }
  },
};
