import type { CideryError } from '../base/error.ts';
import type { DeploymentView, InstanceView } from './cluster-state.ts';
import type { Instance } from './instance.ts';
import { memoryOfRanks } from './predicted-memory.ts';
import type { Member } from './rank-group.ts';

/** An instance as `GET /cluster/v1/state` shows it. */
export function viewInstance(
  entry: { view: DeploymentView; instance: Instance },
  node: string,
): InstanceView {
  const { view, instance } = entry;
  const { state, report, plan, predicted } = instance;
  const opened = state.kind === 'ready' ? state.opened : null;
  return {
    id: instance.id,
    deployment: view.id,
    model: instance.model,
    state: state.kind,
    error: state.kind === 'failed' ? viewError(state.error) : null,
    progress:
      state.kind === 'starting'
        ? { doneBytes: state.doneBytes, totalBytes: state.totalBytes }
        : null,
    contextLength: opened?.contextLength ?? null,
    plan: {
      kind: plan.kind,
      ranks: plan.ranks,
      executor: instance.settings.executor,
      mode: instance.settings.precise ? 'precise' : 'fast',
      predicted: { memoryBytes: memoryOfRanks(predicted), ranks: [...predicted] },
    },
    measured: {
      loadMs: opened?.loadMs ?? null,
      running: report?.running ?? 0,
      waiting: report?.waiting ?? 0,
      promptTokens: report?.promptTokens ?? 0,
      generatedTokens: report?.generatedTokens ?? 0,
      tokensPerS: instance.tokensPerS,
    },
    ranks: viewRanks(instance, node),
  };
}

function viewError({ code, message, hint }: CideryError): InstanceView['error'] {
  return hint === undefined ? { code, message } : { code, message, hint };
}

function viewRanks({ members, plan }: Instance, node: string): InstanceView['ranks'] {
  return Array.from({ length: plan.ranks }, (_, rank) => {
    const member = members[rank];
    return {
      rank,
      node,
      pid: member?.pid ?? null,
      state: member?.state ?? 'lost',
      memoryBytes: member === undefined ? 0 : memoryOf(member),
    };
  });
}

/** Weights, keys and values in use, and what steps work in. */
function memoryOf({ report, opened }: Member): number {
  return (report?.memory ?? opened?.memory)?.activeBytes ?? 0;
}
