import { CideryError } from '../../base/error.ts';
import type { ClusterState, InstanceView } from '../../node/cluster-state.ts';
import { memoryOfRanks } from '../../node/predicted-memory.ts';
import type { CommandContext } from '../context.ts';
import { findNode, requireNode } from '../find-node.ts';
import { formatBytes, formatDuration, type Output, table } from '../output.ts';

/** `cidery ps` */
export async function ps(context: CommandContext): Promise<void> {
  const client = await findNode(context);
  if (client === null) context.output.note('no node runs; start one with `cidery start`');
  const instances = client === null ? [] : (await client.state(context.signal)).instances;
  context.output.value({ instances });
  if (instances.length > 0) context.output.line(instanceTable(instances));
  else if (client !== null) context.output.note('no model is loaded');
}

function instanceTable(instances: readonly InstanceView[]): string {
  const heads = [
    'ID',
    'MODEL',
    'STATE',
    'MODE',
    'RANKS',
    'MEMORY',
    'PREDICTED',
    'CONTEXT',
    'RUNNING',
    'SPEED',
  ];
  return table(
    heads,
    instances.flatMap((instance) => [instanceRow(instance), ...rankRows(instance)]),
  );
}

function instanceRow(instance: InstanceView): string[] {
  const { plan, ranks, measured, contextLength } = instance;
  return [
    instance.deployment,
    instance.model,
    stateText(instance),
    `${plan.mode} (${plan.executor})`,
    plan.ranks === 1 ? '1' : `${plan.ranks} (${plan.kind})`,
    formatBytes(ranks.reduce((sum, { memoryBytes }) => sum + memoryBytes, 0)),
    formatBytes(plan.predicted.memoryBytes),
    `${contextLength ?? '-'}`,
    `${measured.running}+${measured.waiting}`,
    `${measured.tokensPerS.toFixed(1)} tok/s`,
  ];
}

/** One for each rank of a model that is split. */
function rankRows({ plan, ranks }: InstanceView): string[][] {
  if (plan.ranks === 1) return [];
  return ranks.map(({ rank, pid, state, memoryBytes }) => [
    `  rank ${rank}`,
    `process ${pid ?? '-'}`,
    state,
    '',
    '',
    formatBytes(memoryBytes),
    formatBytes(memoryOfRanks(plan.predicted.ranks.slice(rank, rank + 1))),
    '',
    '',
    '',
  ]);
}

function stateText({ state, error, progress }: InstanceView): string {
  if (error !== null) return `${state}: ${error.message}`;
  if (progress === null || progress.totalBytes === 0) return state;
  return `${state} ${Math.floor((progress.doneBytes / progress.totalBytes) * 100)}%`;
}

/** `cidery stop ID`: a deployment's id, an instance's, or a model's name. */
export async function stop(context: CommandContext, id: string): Promise<void> {
  const client = await requireNode(context);
  const { instances } = await client.state(context.signal);
  const found = instances.filter((instance) =>
    [instance.deployment, instance.id, instance.model].includes(id),
  );
  if (found.length === 0) {
    throw new CideryError('deployment_not_found', `nothing runs under the name ${id}`, {
      hint: '`cidery ps` lists what runs',
    });
  }
  const stopped = found.map(({ deployment }) => deployment);
  for (const deployment of stopped) await client.removeDeployment(deployment, context.signal);
  context.output.value({ stopped });
  for (const { deployment, model } of found) context.output.line(`${model} (${deployment}) ended`);
}

/** `cidery status` */
export async function status(context: CommandContext): Promise<void> {
  const client = await findNode(context);
  if (client === null) {
    context.output.value({ running: false });
    context.output.line('no node runs on this machine; start one with `cidery start`');
    return;
  }
  const state = await client.state(context.signal);
  context.output.value({ running: true, url: client.url, ...state });
  writeStatus(context.output, client.url, state);
}

function writeStatus(output: Output, url: string, state: ClusterState): void {
  for (const node of state.nodes) {
    const { totalBytes, freeBytes } = node.memory;
    output.line(`node ${node.name}, cidery ${node.version}, ${node.platform}, ${node.cores} cores`);
    output.line(`  up for ${formatDuration(node.uptimeMs)}, page and API at ${url}`);
    output.line(`  memory: ${formatBytes(freeBytes)} free of ${formatBytes(totalBytes)}`);
  }
  if (state.instances.length > 0) output.line(instanceTable(state.instances));
  else output.line('no model is loaded');
}
