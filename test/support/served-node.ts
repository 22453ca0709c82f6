import { createApi } from '../../src/api/app.ts';
import { CideryError } from '../../src/base/error.ts';
import { modelId } from '../../src/base/ids.ts';
import { limits } from '../../src/base/limits.ts';
import { readPage } from '../../src/cli/page.ts';
import { smallConfigs, tensorsFor } from '../../src/model/testing.ts';
import type { ModelLibrary, ModelOnDisk } from '../../src/node/model-library.ts';
import { CideryNode } from '../../src/node/node.ts';
import { type HttpServer, type HttpServerLimits, listen } from '../../src/platform/http-server.ts';
import { realClock } from '../../src/platform/real-clock.ts';
import { ScriptedRanks } from './scripted-rank.ts';

/** The model that every served node has on its disk. */
export const echoModel = 'test/echo';

const onDisk: ModelOnDisk = {
  id: modelId(echoModel),
  kind: 'safetensors',
  path: '/models/echo',
  sizeBytes: 1_000,
  state: 'ready',
  modifiedMs: 1_700_000_000_000,
};

function library(): ModelLibrary {
  const resolve = (name: string): Promise<ModelOnDisk> =>
    name === echoModel
      ? Promise.resolve(onDisk)
      : Promise.reject(new CideryError('model_not_found', `there is no model "${name}" here`));
  return {
    resolve,
    admit: resolve,
    list: () => Promise.resolve([onDisk]),
    manifest: () =>
      Promise.resolve({
        id: echoModel,
        files: [],
        config: smallConfigs.llama,
        tensors: tensorsFor(smallConfigs.llama),
        text: { tokenizerPath: null, chatTemplate: null, specialTokens: {}, eosIds: [] },
      }),
    pull: resolve,
    remove: () => Promise.resolve({ freedBytes: 0, keptFiles: false }),
  };
}

export interface ServedNode {
  readonly node: CideryNode;
  readonly ranks: ScriptedRanks;
  readonly server: HttpServer;
  readonly url: string;
  close(): Promise<void>;
}

export interface ServedNodeOptions {
  readonly ranks?: ScriptedRanks;
  readonly apiKey?: string | null;
  readonly origins?: readonly string[];
  readonly limits?: Partial<HttpServerLimits>;
}

/** A real node behind a real socket, whose ranks are scripted and whose disk holds one model. */
export async function serveNode(options: ServedNodeOptions = {}): Promise<ServedNode> {
  const ranks = options.ranks ?? new ScriptedRanks();
  let ids = 0;
  const node = new CideryNode({
    library: library(),
    spawner: ranks,
    clock: realClock,
    machine: {
      nodeId: 'node-test',
      name: 'test',
      platform: 'test',
      cores: 2,
      totalMemoryBytes: 8e9,
      freeMemoryBytes: () => 4e9,
    },
    defaults: {
      executor: 'mlx',
      precise: false,
      contextLength: null,
      cacheBytes: null,
      slots: 4,
      threads: 1,
      ranks: 1,
      split: 'auto',
    },
    version: '1.2.3',
    randomId: () => `id${++ids}`,
    randomSeed: () => '42',
    randomBytes: (count) => new Uint8Array(count),
    silenceMs: limits.rankStoppedMs,
    groupBackend: 'tcp',
  });
  const closing = new AbortController();
  const api = createApi(node, realClock, {
    apiKey: options.apiKey ?? null,
    hostNames: [],
    origins: options.origins ?? [],
    page: await readPage(),
    closing: closing.signal,
  });
  const server = await listen((request) => api.fetch(request), {
    host: '127.0.0.1',
    port: 0,
    limits: { ...limits, ...options.limits },
  });
  node.address = server.url;
  return {
    node,
    ranks,
    server,
    url: server.url,
    async close() {
      closing.abort();
      await server.close();
      await node.close();
    },
  };
}
