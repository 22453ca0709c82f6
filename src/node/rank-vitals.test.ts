import { expect, test } from 'vitest';
import { limits } from '../base/limits.ts';
import { RankVitals } from './rank-vitals.ts';

const stoppedMs = limits.rankStoppedMs;

/** Looks every `limits.rankPingMs`; the code of the verdict, and when it came. */
function watch(
  ms: number,
  before: (vitals: RankVitals, nowMs: number) => void,
): { code: string; atMs: number } | null {
  const vitals = new RankVitals(stoppedMs, 0);
  for (let nowMs = limits.rankPingMs; nowMs <= ms; nowMs += limits.rankPingMs) {
    before(vitals, nowMs);
    const dead = vitals.check(nowMs);
    if (dead !== null) return { code: dead.code, atMs: nowMs };
  }
  return null;
}

test('a rank that answers and gives signs lives', () => {
  const end = watch(10 * limits.rankStepMs, (vitals) => {
    vitals.hello();
    vitals.heard();
    vitals.sign();
    vitals.pong({ steps: 0, running: 0 });
  });
  expect(end).toBe(null);
});

test('one that gave its last sign is stopped within the limit, though it was just heard', () => {
  const end = watch(60_000, (vitals, nowMs) => {
    vitals.hello();
    vitals.heard();
    if (nowMs <= 10_000) vitals.sign();
  });
  expect(end?.code).toBe('rank_stopped');
  expect((end?.atMs ?? 0) - 10_000).toBeLessThanOrEqual(stoppedMs);
  expect((end?.atMs ?? 0) - 10_000).toBeGreaterThan(stoppedMs - 2 * limits.rankPingMs);
});

test.each([
  ['with its model', true, limits.rankSilenceMs],
  ['that loads has longer still', false, limits.rankLoadingSilenceMs],
])('signs without a word are a stuck JavaScript; one %s', (_which, opened, mostMs) => {
  const end = watch(200_000, (vitals) => {
    vitals.hello();
    if (opened) vitals.opened();
    vitals.sign();
  });
  expect(end).toEqual({ code: 'rank_stuck', atMs: mostMs + limits.rankPingMs });
});

test('a daemon that was held up for a second judges nobody by it', () => {
  const vitals = new RankVitals(limits.rankStoppedLeastMs, 0);
  vitals.hello();
  vitals.sign();
  for (const nowMs of [500, 1_000_000]) expect(vitals.check(nowMs)).toBe(null);
  // What came meanwhile is read before the next look.
  vitals.sign();
  vitals.heard();
  expect(vitals.check(1_000_500)).toBe(null);
});
