import type { FaultKind } from './arguments.ts';
import type { Fault } from './faults.ts';
import type { AnswerRecord } from './load.ts';

export interface Recovery {
  readonly kind: FaultKind;
  readonly ms: number;
}

/**
 * Milliseconds from a fault to the next token, for each answer that was under way then and went on:
 * the end of the longest silence that ends after the fault and begins before the next one. Text
 * that was on its way when the fault came is not taken for the return. A silence in which the next
 * fault falls counts from that one alone.
 */
export function recoveryTimes(
  faults: readonly Pick<Fault, 'kind' | 'atMs'>[],
  records: readonly AnswerRecord[],
): Recovery[] {
  return faults.flatMap(({ kind, atMs }, index) => {
    const nextAtMs = faults[index + 1]?.atMs ?? Number.POSITIVE_INFINITY;
    return records.flatMap(({ startedAt, endedAt, times }) => {
      if (startedAt >= atMs || endedAt <= atMs) return [];
      const points = [startedAt, ...times];
      let longest = { lengthMs: 0, endsAtMs: 0 };
      for (const [at, endsAtMs] of times.entries()) {
        const beginsAtMs = points[at] ?? endsAtMs;
        if (endsAtMs <= atMs || beginsAtMs >= nextAtMs) continue;
        const lengthMs = endsAtMs - beginsAtMs;
        if (lengthMs > longest.lengthMs) longest = { lengthMs, endsAtMs };
      }
      if (longest.lengthMs === 0 || longest.endsAtMs > nextAtMs) return [];
      return [{ kind, ms: longest.endsAtMs - atMs }];
    });
  });
}
