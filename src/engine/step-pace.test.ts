import { describe, expect, test } from 'vitest';
import { limits } from '../base/limits.ts';
import { StepPace } from './step-pace.ts';

/** A pace after `durationsMs`, one step behind the other; the next one begins at once. */
function paceAfter(durationsMs: readonly number[]): { pace: StepPace; nowMs: number } {
  const pace = new StepPace();
  let nowMs = 1_000;
  pace.began(nowMs);
  for (const duration of durationsMs) {
    nowMs += duration;
    pace.ended(nowMs, true);
  }
  return { pace, nowMs };
}

describe('the pace of steps', () => {
  test('the next step may wait until shortly before the shortest of the last would end', () => {
    const { pace, nowMs } = paceAfter([300, 100, 120, 110, 130]);
    const leadMs = 100 * limits.stepLeadShare;
    expect(pace.spareMs(nowMs)).toBe(100 - leadMs);
    expect(pace.spareMs(nowMs + 50)).toBe(50 - leadMs);
    expect(pace.spareMs(nowMs + 100)).toBe(0);
  });

  test('short steps and unknown ones leave no time to wait', () => {
    const short = paceAfter([3, 3, 3, 3]);
    expect(short.pace.spareMs(short.nowMs)).toBe(0);
    const unknown = paceAfter([100, 100, 100]);
    expect(unknown.pace.spareMs(unknown.nowMs)).toBe(0);
    expect(new StepPace().spareMs(0)).toBe(0);
  });

  test('a step counts from its launch when nothing ran before it', () => {
    const { pace, nowMs } = paceAfter([100, 100, 100, 100]);
    pace.ended(nowMs + 100, false);
    expect(pace.spareMs(nowMs + 500)).toBe(0);
    pace.began(nowMs + 1_000);
    expect(pace.spareMs(nowMs + 1_000)).toBe(100 - 100 * limits.stepLeadShare);
  });
});
