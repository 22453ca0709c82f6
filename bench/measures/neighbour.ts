import { startBusyCore } from '../processes/busy-core.ts';
import { perSecond } from '../statistics.ts';
import { attempt, enginePeers, type Measure, withEngine } from './measure.ts';

const promptTokens = 512;
const tokens = 64;
const settings = [
  { name: '1 thread, free', threads: 1, busy: false },
  { name: '2 threads, free', threads: 2, busy: false },
  { name: '2 threads, one core busy', threads: 2, busy: true },
] as const;

/** A second thread on a free machine, and beside a program that takes a core. */
export const neighbour: Measure = {
  name: 'neighbour',
  about: '1 and 2 threads on a free machine, 2 beside a busy core; --threads does not count',
  rounds: 3,
  peers: enginePeers,
  async round(bench, round) {
    const { recorder, precise, limitMs } = bench;
    for (const { name, threads, busy } of settings) {
      const ids = bench.prompts.next(promptTokens);
      for (const subject of bench.subjects) {
        const needs = { threads, precise, sequences: 1, contextLength: 1_024 };
        const key = { subject: subject.name, case: name } as const;
        await attempt(bench, subject.name, name, () =>
          withEngine(bench, subject, needs, async (engine) => {
            const stop = busy ? startBusyCore(limitMs) : () => {};
            try {
              const { promptMs, generateMs } = await engine.generate([ids], tokens, limitMs);
              const speeds = {
                prompt: perSecond(ids.length, promptMs),
                decode: perSecond(tokens - 1, generateMs),
              };
              recorder.record({ ...key, metric: 'prompt' }, round, speeds.prompt);
              recorder.record({ ...key, metric: 'decode' }, round, speeds.decode);
            } finally {
              stop();
            }
          }),
        );
        for (const metric of ['prompt', 'decode'] as const) {
          const one = recorder.value({ ...key, case: settings[0].name, metric }, round);
          const value = recorder.value({ ...key, metric }, round);
          if (threads === 1 || one === null || value === null) continue;
          const ratio = {
            subject: subject.name,
            case: `${metric}, ${name}`,
            metric: 'against one free thread',
          } as const;
          recorder.record(ratio, round, value / one);
        }
      }
    }
  },
};
