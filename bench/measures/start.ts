import { attempt, enginePeers, type Measure } from './measure.ts';

const text = 'The capital of France is';

/** From the command to the first token, with the files in the system's cache. */
export const start: Measure = {
  name: 'start',
  about: 'milliseconds from the command to the first token, caches warm',
  rounds: 5,
  peers: enginePeers,
  async round(bench, round) {
    const { recorder, threads, precise, limitMs } = bench;
    const prompt = { text, ids: bench.prompts.next(5) };
    const needs = { threads, precise, sequences: 1, contextLength: 2_048 };
    for (const subject of bench.subjects) {
      await attempt(bench, subject.name, 'command', async () => {
        // Caches are warm from the second time on.
        if (round === 0) await subject.firstTokenMs(prompt, needs, limitMs);
        const ms = await subject.firstTokenMs(prompt, needs, limitMs);
        const key = { subject: subject.name, case: 'command', metric: 'first token' } as const;
        recorder.record(key, round, ms);
      });
    }
  },
};
