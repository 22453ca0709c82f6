import { expect, test } from 'vitest';
import { recoveryTimes } from '../../chaos/recovery.ts';

const answer = (startedAt: number, times: readonly number[]) => ({
  question: 0,
  startedAt,
  endedAt: times.at(-1) ?? startedAt,
  times,
  wrong: null,
});

test('a fault is over with the text after the longest silence', () => {
  const faults = [{ kind: 'kill', rank: 0, atMs: 1_000 } as const];
  // Text of 1,010 ms was on its way when the fault came.
  const records = [answer(0, [100, 990, 1_010, 2_500, 2_600])];
  expect(recoveryTimes(faults, records)).toEqual([{ kind: 'kill', ms: 1_500 }]);
});

test('answers that began later or had ended do not count', () => {
  const faults = [{ kind: 'stop', rank: 1, atMs: 1_000 } as const];
  expect(recoveryTimes(faults, [answer(0, [900]), answer(1_100, [1_200])])).toEqual([]);
});

test('a silence with two faults in it counts from the second', () => {
  const faults = [
    { kind: 'stop', rank: 1, atMs: 1_000 },
    { kind: 'kill', rank: 0, atMs: 4_000 },
  ] as const;
  const records = [answer(0, [500, 990, 5_200, 5_300])];
  expect(recoveryTimes(faults, records)).toEqual([{ kind: 'kill', ms: 1_200 }]);
});
