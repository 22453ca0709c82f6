import { join } from 'node:path';
import { createApi } from '../../api/app.ts';
import { stateEvents } from '../../api/cluster/state-events.ts';
import { CideryError, errorCode } from '../../base/error.ts';
import { limits } from '../../base/limits.ts';
import type { CideryNode } from '../../node/node.ts';
import { openNode } from '../../node/open-node.ts';
import { diskError } from '../../platform/disk-error.ts';
import { tryFileLock } from '../../platform/file-lock.ts';
import { type HttpServer, listen } from '../../platform/http-server.ts';
import { makeFolder } from '../../platform/make-folder.ts';
import { realClock } from '../../platform/real-clock.ts';
import type { FileLock } from '../../ports/lock.ts';
import { catalogue } from '../../store/catalogue.ts';
import { apiKey, type CommandContext, type EngineFlags, nodeSettings } from '../context.ts';
import { findNode, removeRunFile, runFolder, writeRunFile } from '../find-node.ts';
import { requireModel } from '../local-models.ts';
import { logWriter } from '../log-file.ts';
import { errorLine } from '../report-error.ts';
import { readPage } from '../page.ts';
import { waitUntilReady } from '../wait-until-ready.ts';

export interface StartFlags extends EngineFlags {
  readonly model?: readonly string[];
  readonly port?: number;
  readonly host?: string;
}

const defaultPort = 11_435;
const defaultHost = '127.0.0.1';

/**
 * `cidery start`: serves until it is told to end. It serves first and loads models afterwards, so
 * that page and progress are there at once.
 */
export async function start(context: CommandContext, flags: StartFlags): Promise<void> {
  const key = apiKey(context.environment);
  const host = flags.host ?? defaultHost;
  requireKeyOffLoopback(host, key);
  const lock = await lockHome(context);
  try {
    const node = await openNode(nodeSettings(context, flags));
    try {
      await serve(context, flags, node, { host, port: flags.port ?? defaultPort, key });
    } finally {
      await node.close();
    }
  } finally {
    await lock.release();
  }
}

function requireKeyOffLoopback(host: string, key: string | null): void {
  const loopback = host === 'localhost' || host === '::1' || /^127(\.\d{1,3}){3}$/.test(host);
  if (loopback || key !== null) return;
  throw new CideryError('key_missing', `serving at ${host} lets other machines in`, {
    hint: 'set CIDERY_API_KEY to a secret of your choice first, or leave out --host',
  });
}

/** One node a home: two would write to the same files. */
async function lockHome(context: CommandContext): Promise<FileLock> {
  const running = await findNode(context);
  const folder = runFolder(context.home);
  const path = join(folder, 'node.lock');
  const lock = running === null ? await makeLock(folder, path) : null;
  if (lock !== null) return lock;
  const where = running === null ? `it holds ${path}` : `it serves at ${running.url}`;
  throw new CideryError('node_running', `a node of ${context.home} is running: ${where}`, {
    hint: 'end it first, or give this one a --home of its own',
  });
}

async function makeLock(folder: string, path: string): Promise<FileLock | null> {
  try {
    await makeFolder(folder, 0o700);
    return await tryFileLock(path);
  } catch (error) {
    throw diskError(error, path);
  }
}

interface Address {
  readonly host: string;
  readonly port: number;
  readonly key: string | null;
}

async function serve(
  context: CommandContext,
  flags: StartFlags,
  node: CideryNode,
  address: Address,
): Promise<void> {
  const closing = new AbortController();
  node.logs.onLine(
    logWriter(context.home, (error) =>
      context.output.note(`the log is not written: ${errorLine(error)}`),
    ),
  );
  const api = createApi(node, realClock, {
    apiKey: address.key,
    hostNames: [...list(context, 'CIDERY_HOSTS'), address.host.toLowerCase()],
    origins: list(context, 'CIDERY_ORIGINS'),
    page: await readPage(),
    closing: closing.signal,
  });
  const server = await listen((request) => api.fetch(request), { ...address, limits });
  node.address = server.url;
  try {
    await writeRunFile(context.home, { url: server.url, pid: process.pid });
    announce(context, server, address.key);
    await loadModels(context, node, flags.model ?? null);
    await aborted(context.signal);
  } catch (error) {
    // Told to end while it loads: as orderly as at any other moment.
    if (!context.signal.aborted) throw error;
  } finally {
    context.output.note('ending');
    closing.abort(new CideryError('node_closing', 'the node is closing'));
    await removeRunFile(context.home);
    await server.close();
  }
}

function list(context: CommandContext, name: string): string[] {
  const items = (context.environment[name] ?? '').split(',').map((item) => item.trim());
  return items.filter((item) => item !== '');
}

function announce({ output }: CommandContext, { url }: HttpServer, key: string | null): void {
  output.line(`ready ${url}`);
  output.value({ event: 'ready', url });
  const header = key === null ? '' : ' -H "Authorization: Bearer $CIDERY_API_KEY"';
  const body = { model: catalogue[0]?.name, messages: [{ role: 'user', content: 'Hello' }] };
  output.note(`page  ${url}/`);
  output.note(`API   ${url}/v1  (OpenAI's)`);
  output.note(`try   curl ${url}/v1/chat/completions${header} -d '${JSON.stringify(body)}'`);
}

/**
 * Loads what was asked for; a model that cannot be had ends the node. The starter model, which
 * nobody asked for, only costs a line.
 */
async function loadModels(
  context: CommandContext,
  node: CideryNode,
  names: readonly string[] | null,
): Promise<void> {
  const starter = catalogue[0]?.name;
  for (const name of names ?? (starter === undefined ? [] : [starter])) {
    try {
      await loadModel(context, node, name);
    } catch (error) {
      if (names !== null || context.signal.aborted) throw error;
      node.logs.add('node', `${name}: ${errorCode(error)}`);
      context.output.note(`${name} is not loaded: ${errorLine(error)}`);
    }
  }
}

async function loadModel(context: CommandContext, node: CideryNode, name: string): Promise<void> {
  const model = await requireModel(context, node.library, name, 'all');
  const deployment = await node.deployments.create({ model: model.id });
  await waitUntilReady(context, stateEvents(node, realClock, context.signal), deployment.id);
  context.output.value({ event: 'model', model: model.id, state: 'ready' });
  context.output.note(`${model.id} is ready`);
}

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
