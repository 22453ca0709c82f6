import { limits } from '../../base/limits.ts';
import type { ClusterState } from '../../node/cluster-state.ts';
import type { CideryNode } from '../../node/node.ts';
import type { Clock } from '../../ports/clock.ts';

/** The state now, then after each change and at least once a second (memory and speeds move by themselves). */
export function stateEvents(
  node: CideryNode,
  clock: Clock,
): { readonly states: AsyncIterable<ClusterState>; stop(): void } {
  let stopped = false;
  let wake = () => {};
  const stopListening = node.onChange(() => wake());
  async function* states(): AsyncGenerator<ClusterState, void, void> {
    try {
      while (!stopped) {
        yield node.state();
        await clock.sleep(limits.stateEventIntervalMs);
        if (stopped) return;
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
    }
  }
  return {
    states: states(),
    stop() {
      stopped = true;
      wake();
    },
  };
}
