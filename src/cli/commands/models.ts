import { CideryError } from '../../base/error.ts';
import type { ModelLibrary } from '../../node/model-library.ts';
import { openNode } from '../../node/open-node.ts';
import { catalogue } from '../../store/catalogue.ts';
import { type CommandContext, nodeSettings } from '../context.ts';
import { findNode } from '../find-node.ts';
import { pullModel } from '../local-models.ts';
import { formatBytes, table } from '../output.ts';

/** What is on this disk; a node that runs shares it. */
async function openLibrary(context: CommandContext): Promise<ModelLibrary> {
  return (await openNode(nodeSettings(context, {}))).library;
}

/** Models that a running node has loaded or is loading, with their states. */
async function runningModels(context: CommandContext): Promise<Map<string, string>> {
  const client = await findNode(context);
  const instances = client === null ? [] : (await client.state(context.signal)).instances;
  return new Map(instances.map(({ model, state }) => [model, state]));
}

/** `cidery pull M` */
export async function pull(context: CommandContext, name: string): Promise<void> {
  const model = await pullModel(context, await openLibrary(context), name);
  const { id, path, sizeBytes } = model;
  context.output.line(`${id}  ${formatBytes(sizeBytes)}  ${path}`);
  context.output.value({ id, path, sizeBytes });
}

/** `cidery models` */
export async function models(context: CommandContext): Promise<void> {
  const library = await openLibrary(context);
  const [found, running] = await Promise.all([library.list(), runningModels(context)]);
  const rows = found.map(({ id, kind, state, sizeBytes, path }) => ({
    id,
    kind,
    state: running.get(id) ?? (state === 'ready' ? 'on disk' : 'in part'),
    sizeBytes,
    path,
  }));
  context.output.value({ models: rows });
  if (rows.length === 0) {
    context.output.note('no models yet; `cidery pull M` fetches one, for example:');
    for (const { name, description } of catalogue) context.output.note(`  ${name}  ${description}`);
    return;
  }
  context.output.line(
    table(
      ['MODEL', 'KIND', 'SIZE', 'STATE'],
      rows.map(({ id, kind, sizeBytes, state }) => [id, kind, formatBytes(sizeBytes), state]),
    ),
  );
}

/** `cidery rm M`: refuses a model that the running node uses. */
export async function remove(context: CommandContext, reference: string): Promise<void> {
  const state = (await runningModels(context)).get(reference);
  if (state === 'ready' || state === 'starting') {
    throw new CideryError('model_in_use', `${reference} is loaded`, {
      hint: `end it first: \`cidery stop ${reference}\``,
    });
  }
  const { freedBytes, keptFiles } = await (await openLibrary(context)).remove(reference);
  context.output.value({ id: reference, freedBytes, keptFiles });
  context.output.line(
    keptFiles
      ? `${reference} is forgotten; its files are yours and stay where they are`
      : `${reference} is deleted, ${formatBytes(freedBytes)} are free`,
  );
}
