import { setTimeout as sleep } from 'node:timers/promises';
import type { ChaosOptions, FaultKind } from './arguments.ts';
import type { Dice } from './dice.ts';
import { chaosLimits } from './limits.ts';
import type { NodeUnderTest } from './node-under-test.ts';

export interface Fault {
  readonly kind: FaultKind;
  readonly rank: number;
  /** Of this process's clock. */
  readonly atMs: number;
  /** When the instance was ready again. */
  readonly readyAtMs: number;
}

/**
 * Hurts one rank at a moment that the dice choose, and waits until the instance is back with fresh
 * processes: every one of the former has to be gone by then.
 */
export async function strike(
  node: NodeUnderTest,
  { faults }: ChaosOptions,
  dice: Dice,
): Promise<Fault> {
  const pids = await node.ready(new Set());
  await sleep(dice.between(chaosLimits.pauseMinMs, chaosLimits.pauseMaxMs));
  const kind = dice.one(faults);
  const rank = dice.between(0, pids.length - 1);
  const atMs = performance.now();
  process.kill(pids[rank] ?? 0, kind === 'kill' ? 'SIGKILL' : 'SIGSTOP');
  await node.ready(new Set(pids));
  return { kind, rank, atMs, readyAtMs: performance.now() };
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
