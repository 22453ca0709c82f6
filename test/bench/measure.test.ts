import { describe, expect, it } from 'vitest';
import { batch } from '../../bench/measures/batch.ts';
import { decode } from '../../bench/measures/decode.ts';
import type { Bench } from '../../bench/measures/measure.ts';
import { Cidery } from '../../bench/peers/cidery.ts';
import type { Engine, Subject } from '../../bench/peers/subject.ts';
import { Recorder } from '../../bench/recorder.ts';
import { Prompts } from '../../bench/texts.ts';

const weightBytes = 100e6;

/** An engine that generates a token in `tokenMs`, more after long prompts, and has no process. */
function subject(name: string, tokenMs: (depth: number) => number, log: string[] = []): Subject {
  const engine: Engine = {
    pid: 0,
    generate: async (prompts, maxTokens) => {
      const depth = prompts[0]?.length ?? 0;
      log.push(`${name} ${prompts.length}x${depth}`);
      return {
        rows: prompts.map(() => Array.from({ length: maxTokens }, () => 1)),
        promptMs: 0,
        generateMs: (maxTokens - 1) * tokenMs(depth),
        times: [],
      };
    },
    close: async () => void log.push(`${name} closed`),
  };
  return { name, version: '1', maxSequences: 4, open: () => engine, firstTokenMs: async () => 1 };
}

function bench(subjects: readonly Subject[], cases: readonly number[]): Bench {
  const settings = { root: '', home: '', model: '', executor: null, version: '' };
  return {
    cidery: new Cidery(settings),
    subjects,
    recorder: new Recorder(),
    prompts: new Prompts(Array.from({ length: 20_000 }, (_, index) => index)),
    facts: { weightBytes, multiplies: 1e6 },
    roof: { measure: async () => 20 },
    threads: 1,
    precise: false,
    contextLength: 1_024,
    cases,
    limitMs: 1_000,
    note: () => undefined,
  };
}

const figures = ({ recorder }: Bench) =>
  recorder
    .figures()
    .map(({ subject: name, case: where, metric, median }) => [name, where, metric, median]);

describe('a measure', () => {
  it('measures all subjects in a round, each in an engine that it closes', async () => {
    const log: string[] = [];
    const fast = subject('cidery', (depth) => (depth > 64 ? 10 : 5), log);
    const world = bench([fast, subject('peer', () => 20, log)], [64, 512, 2_048]);
    await decode.round(world, 0);
    // The first is the warm-up; 2048 is past this model's context.
    expect(log).toEqual([
      'cidery 1x16',
      'cidery 1x64',
      'cidery 1x512',
      'cidery closed',
      'peer 1x16',
      'peer 1x64',
      'peer 1x512',
      'peer closed',
    ]);
    expect(figures(world)).toEqual([
      ['machine', '1 thread', 'read', 20],
      ['cidery', 'depth 64', 'decode', 200],
      ['cidery', 'depth 512', 'decode', 100],
      ['cidery', 'depth 512', 'against depth 64', 0.5],
      ['peer', 'depth 64', 'decode', 50],
      ['peer', 'depth 512', 'decode', 50],
      ['peer', 'depth 512', 'against depth 64', 1],
      ['cidery', 'depth 64', 'share of the read roof', 100],
    ]);
    expect(world.recorder.absences).toEqual([]);
  });

  it('goes on without a subject that fails, and says so', async () => {
    const broken = subject('peer', () => {
      throw new Error('out of memory');
    });
    const world = bench([broken, subject('cidery', () => 5)], [64]);
    await decode.round(world, 0);
    expect(figures(world).map(([name]) => name)).toEqual(['machine', 'cidery', 'cidery']);
    expect(world.recorder.absences).toEqual([
      { subject: 'peer', case: 'all depths', reason: 'out of memory' },
    ]);
  });

  it('asks no subject for more sequences than it takes', async () => {
    const log: string[] = [];
    const world = bench([subject('cidery', () => 5, log)], [1, 16]);
    await batch.round(world, 0);
    expect(log).toEqual(['cidery 1x16', 'cidery 1x16', 'cidery closed']);
    expect(world.recorder.absences).toEqual([
      { subject: 'cidery', case: '16 sequences', reason: '4 at once is what it takes' },
    ]);
  });
});
