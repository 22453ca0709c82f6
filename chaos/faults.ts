import { setTimeout as sleep } from 'node:timers/promises';
import type { ChaosOptions, FaultKind } from './arguments.ts';
import { chaosLimits } from './limits.ts';
import { cutOff } from './network-cut.ts';
import type { NodeUnderTest } from './node-under-test.ts';

export interface Fault {
  readonly kind: FaultKind;
  readonly rank: number;
  /** Of this process's clock. */
  readonly atMs: number;
  /** When the instance was ready again. */
  readonly readyAtMs: number;
  /** Processes of the ranks that came after it. */
  readonly freshPids: readonly number[];
}

/**
 * Hurts one rank at a moment that the dice choose, and waits until the instance is back with fresh
 * processes: every one of the former has to be gone by then.
 */
export async function strike(
  node: NodeUnderTest,
  { faults }: ChaosOptions,
  dice: (limit: number) => number,
): Promise<Fault> {
  const pids = await node.ready(new Set());
  const { pauseMinMs, pauseMaxMs } = chaosLimits;
  await sleep(pauseMinMs + dice(pauseMaxMs - pauseMinMs + 1));
  const kind = faults[dice(faults.length)] ?? faults[0];
  const rank = dice(pids.length);
  const atMs = performance.now();
  const undo = hurt(kind, pids[rank] ?? 0);
  try {
    const freshPids = await node.ready(new Set(pids));
    return { kind, rank, atMs, readyAtMs: performance.now(), freshPids };
  } finally {
    undo();
  }
}

function hurt(kind: FaultKind, pid: number): () => void {
  if (kind === 'cut') return cutOff(pid);
  process.kill(pid, kind === 'kill' ? 'SIGKILL' : 'SIGSTOP');
  return () => {};
}

/** Those of `pids` that still run (a process that has ended and was not waited for counts too). */
export function stillAlive(pids: Iterable<number>): number[] {
  return [...pids].filter((pid) => {
    try {
      process.kill(pid, 0);
      return true;
    } catch {
      return false;
    }
  });
}
