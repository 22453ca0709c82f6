import { ownName } from '../recorder.ts';
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

const depths = [64, 512, 2_048, 8_192] as const;
const tokens = 64;

/** Tokens a second after prompts of several lengths, one sequence. */
export const decode: Measure = {
  name: 'decode',
  about: 'tokens a second of one sequence, 64 tokens after prompts of 64, 512, 2048 and 8192',
  rounds: 5,
  peers: enginePeers,
  async round(bench, round) {
    const { recorder, threads, precise, contextLength, limitMs } = bench;
    // The deepest prompt leaves room for what is generated after it.
    const room = contextLength - tokens - 1;
    const cases = wantedCases(bench, depths)
      .filter((depth) => depth <= contextLength)
      .map((depth) => ({
        depth,
        name: `depth ${depth}`,
        prompt: bench.prompts.next(Math.min(depth, room)),
      }));
    const roof = await recordRoof(bench, round, 'read', threads);
    for (const subject of bench.subjects) {
      const key = { subject: subject.name, metric: 'decode' } as const;
      const needs = { threads, precise, sequences: 1, contextLength };
      await attempt(bench, subject.name, 'all depths', () =>
        withEngine(bench, subject, needs, async (engine) => {
          for (const { name, prompt } of cases) {
            await attempt(bench, subject.name, name, async () => {
              const { generateMs } = await engine.generate([prompt], tokens, limitMs);
              const speed = perSecond(tokens - 1, generateMs);
              recorder.record({ ...key, case: name }, round, speed);
            });
          }
        }),
      );
      const shallow = recorder.value({ ...key, case: 'depth 64' }, round);
      for (const { depth, name } of cases) {
        const speed = recorder.value({ ...key, case: name }, round);
        if (depth === 64 || speed === null || shallow === null) continue;
        const ratio = { ...key, case: name, metric: 'against depth 64' } as const;
        recorder.record(ratio, round, speed / shallow);
      }
    }
    const share = 'share of the read roof';
    const amount = bench.facts.weightBytes;
    recordShare(bench, round, 'depth 64', { metric: 'decode', share, amount, roof });
    bench.note(`${ownName} ${recorder.value(keyOf('depth 64'), round)?.toFixed(1) ?? '-'} tok/s`);
  },
};

function keyOf(name: string) {
  return { subject: ownName, case: name, metric: 'decode' } as const;
}
