import { limits } from '../../base/limits.ts';
import type { ClusterState } from '../../node/cluster-state.ts';
import type { CideryNode } from '../../node/node.ts';
import type { Clock } from '../../ports/clock.ts';

/**
 * The state now, then after each change and at least once a second (memory and speeds move by
 * themselves), until the signal is aborted. Nothing is held before the first value is fetched.
 */
export async function* stateEvents(
  node: CideryNode,
  clock: Clock,
  signal: AbortSignal,
): AsyncGenerator<ClusterState, void, void> {
  let changed = false;
  let wake = () => {};
  const stopListening = node.onChange(() => {
    changed = true;
    wake();
  });
  const onAbort = () => wake();
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    while (!signal.aborted) {
      changed = false;
      yield node.state();
      await pause(clock, limits.stateEventIntervalMs, signal);
      if (changed || signal.aborted) continue;
      await new Promise<void>((resolve) => {
        const cancel = clock.after(limits.stateRefreshMs, resolve);
        wake = () => {
          cancel();
          resolve();
        };
      });
    }
  } finally {
    stopListening();
    signal.removeEventListener('abort', onAbort);
  }
}

/** Like a sleep that an abort only cuts short. */
async function pause(clock: Clock, ms: number, signal: AbortSignal): Promise<void> {
  await clock.sleep(ms, signal).catch((error: unknown) => {
    if (!signal.aborted) throw error;
  });
}
