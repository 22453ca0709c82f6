import type { DeploymentView, InstanceView } from './cluster-state.ts';
import type { Instance } from './instance.ts';

/** An instance as `GET /cluster/v1/state` shows it. */
export function viewInstance(
  entry: { view: DeploymentView; instance: Instance; memoryBytes: number },
  node: string,
): InstanceView {
  const { view, instance, memoryBytes } = entry;
  const { state, report } = instance;
  const opened = state.kind === 'ready' ? state.opened : null;
  const memory = report?.memory ?? opened?.memory;
  return {
    id: instance.id,
    deployment: view.id,
    model: instance.model,
    state: state.kind,
    error:
      state.kind === 'failed' ? { code: state.error.code, message: state.error.message } : null,
    progress:
      state.kind === 'starting'
        ? { doneBytes: state.doneBytes, totalBytes: state.totalBytes }
        : null,
    contextLength: opened?.contextLength ?? null,
    plan: {
      kind: 'single',
      ranks: 1,
      executor: instance.settings.executor,
      mode: instance.settings.precise ? 'precise' : 'fast',
      predicted: { memoryBytes },
    },
    measured: {
      loadMs: opened?.loadMs ?? null,
      running: report?.running ?? 0,
      waiting: report?.waiting ?? 0,
      promptTokens: report?.promptTokens ?? 0,
      generatedTokens: report?.generatedTokens ?? 0,
      tokensPerS: instance.tokensPerS,
    },
    ranks: [
      {
        rank: 0,
        node,
        pid: instance.pid,
        state: state.kind === 'ready' ? 'ready' : state.kind === 'starting' ? 'starting' : 'lost',
        memoryBytes: (memory?.weightBytes ?? 0) + (memory?.cacheBytes ?? 0),
      },
    ],
  };
}
