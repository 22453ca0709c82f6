import { describe, expect, it } from 'vitest';
import { Recorder } from '../../bench/recorder.ts';
import { digits, reportText, tableLines } from '../../bench/report.ts';

function recorded(): Recorder {
  const recorder = new Recorder();
  const add = (subject: string, metric: 'decode' | 'first token', values: readonly number[]) => {
    for (const [round, value] of values.entries()) {
      recorder.record({ subject, case: 'depth 64', metric }, round, value);
    }
  };
  add('cidery', 'decode', [200, 240]);
  add('other', 'decode', [50, 80]);
  add('cidery', 'first token', [5]);
  add('other', 'first token', [20]);
  recorder.record({ subject: 'machine', case: '1 thread', metric: 'read' }, 0, 12.3);
  return recorder;
}

describe('Recorder', () => {
  it('says how many times better cidery is, more or less being better', () => {
    const ratios = recorded()
      .figures()
      .map(({ subject, metric, cideryIsBetterBy }) => [
        subject,
        metric,
        cideryIsBetterBy?.median ?? null,
      ]);
    expect(ratios).toEqual([
      ['cidery', 'decode', null],
      ['other', 'decode', 3.5],
      ['cidery', 'first token', null],
      ['other', 'first token', 4],
      ['machine', 'read', null],
    ]);
  });

  it('keeps the reason of what has no figure, once, and makes up none', () => {
    const recorder = new Recorder();
    const key = { subject: 'other', case: 'depth 64', metric: 'decode' } as const;
    recorder.record(key, 0, Number.NaN);
    recorder.absent('peer', 'everything', 'no network');
    recorder.absent('peer', 'everything', 'no network');
    expect(recorder.value(key, 0)).toBeNull();
    expect(recorder.figures()).toEqual([]);
    expect(recorder.absences).toEqual([
      { subject: 'other', case: 'depth 64', reason: 'decode came to NaN in round 0' },
      { subject: 'peer', case: 'everything', reason: 'no network' },
    ]);
  });
});

describe('the report', () => {
  it('is a table below what it ran on', () => {
    const recorder = recorded();
    recorder.absent('peer', 'everything', 'no network');
    const text = reportText({
      name: 'decode: about',
      startedAt: '2026-01-02T03:04:05.000Z',
      machine: {
        processor: 'A CPU',
        cores: 2,
        flags: ['avx2'],
        memoryBytes: 2 ** 33,
        loadBefore: 0.1,
        loadAfter: 1,
        commit: 'abc+',
      },
      settings: { threads: 1, mode: 'fast' },
      versions: { cidery: '0.1.0' },
      figures: recorder.figures(),
      absences: recorder.absences,
    });
    expect(text).toMatchInlineSnapshot(`
      "decode: about, 2026-01-02T03:04:05.000Z
      A CPU, 2 cores, avx2, 8.0 GiB
      load average 0.10 before, 1.00 after; commit abc+
      threads 1, mode fast
      cidery 0.1.0

      case      figure            subject  median       spread  rounds            cidery is
      depth 64  decode (tok/s)    cidery      220    200 - 240       2
      depth 64  decode (tok/s)    other      65.0  50.0 - 80.0       2  3.50x (3.00 - 4.00)
      depth 64  first token (ms)  cidery     5.00  5.00 - 5.00       1
      depth 64  first token (ms)  other      20.0  20.0 - 20.0       1  4.00x (4.00 - 4.00)
      1 thread  read (GB/s)       machine    12.3  12.3 - 12.3       1

      not measured:
        peer, everything: no network
      "
    `);
  });

  it('shows three digits that count', () => {
    expect([0, 0.0123, 1.234, 12.34, 123.4, -4_567.8].map(digits)).toEqual([
      '0',
      '0.012',
      '1.23',
      '12.3',
      '123',
      '-4568',
    ]);
  });

  it('aligns columns, those of numbers to the right, without blanks at the end', () => {
    expect(
      tableLines([
        ['a', 'b', 'c', 'd', ''],
        ['aa', 'b', 'c', '100', 'x'],
      ]),
    ).toEqual(['a   b  c    d', 'aa  b  c  100  x']);
  });
});
