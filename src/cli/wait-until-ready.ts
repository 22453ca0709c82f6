import { CideryError } from '../base/error.ts';
import type { ClusterState, InstanceView } from '../node/cluster-state.ts';
import type { CommandContext } from './context.ts';
import { startProgress } from './progress.ts';

/**
 * Waits, with a bar, until a deployment's instance is ready. Rejects with the instance's own error,
 * `instance_stopped` when it is gone, or the signal's reason.
 */
export async function waitUntilReady(
  context: CommandContext,
  states: AsyncIterable<ClusterState>,
  deployment: string,
): Promise<InstanceView> {
  let bar: ReturnType<typeof startProgress> | null = null;
  try {
    for await (const { instances } of states) {
      context.signal.throwIfAborted();
      const instance = instances.find((one) => one.deployment === deployment);
      if (instance?.state === 'ready') return instance;
      if (instance?.state === 'failed') throw instanceError(instance);
      if (instance?.state !== 'starting') break;
      const { doneBytes, totalBytes } = instance.progress ?? { doneBytes: 0, totalBytes: 0 };
      bar ??= startProgress(`loading ${instance.model}`, context.output, process.stderr, () =>
        performance.now(),
      );
      bar.update(doneBytes, totalBytes, null);
    }
  } finally {
    bar?.end();
  }
  throw new CideryError('instance_stopped', 'the model was stopped while it loaded', {
    hint: 'see `cidery logs`',
  });
}

function instanceError({ error, model }: InstanceView): CideryError {
  return new CideryError(
    error?.code ?? 'instance_failed',
    error?.message ?? `${model} cannot be loaded`,
    { hint: error?.hint ?? 'see `cidery logs`' },
  );
}
