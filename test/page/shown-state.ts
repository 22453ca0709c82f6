import { Hono } from 'hono';
import { pageRoutes } from '../../src/api/page.ts';
import { jsonEvent } from '../../src/api/event-stream.ts';
import { limits } from '../../src/base/limits.ts';
import { readPage } from '../../src/cli/page.ts';
import type { ClusterState, InstanceView } from '../../src/node/cluster-state.ts';
import { type HttpServer, listen } from '../../src/platform/http-server.ts';

/** A model on disk as /v1/models lists it. */
export interface ListedModel {
  readonly id: string;
  readonly state: string;
  readonly size_bytes: number;
}

/** The page, and behind it a node in whatever state a test wants to see shown. */
export class ShownState {
  /** Bodies of requests that load, and paths of requests that unload. */
  readonly changes: unknown[] = [];
  models: readonly ListedModel[] = [];
  /** What the chat is answered with, in pieces of seven characters. */
  answer = '';
  /** What the next change is refused with. */
  refusal: { readonly message: string; readonly hint: string } | null = null;
  readonly #watchers = new Set<ReadableStreamDefaultController<Uint8Array>>();
  #state: ClusterState = stateOf([]);
  #server: HttpServer | null = null;
  /** Signs of life for pages that wait for news. */
  readonly #alive = setInterval(() => this.#send(encode(': still here\n\n')), 500);

  static async start(): Promise<ShownState> {
    const shown = new ShownState();
    const app = new Hono();
    app.route('/', pageRoutes(await readPage()));
    app.get('/v1/models', (context) => context.json({ data: shown.models }));
    app.get('/cluster/v1/events', () => shown.#watch());
    app.post('/cluster/v1/deployments', async (context) => {
      if (shown.refusal !== null) return context.json({ error: shown.refusal }, 400);
      shown.changes.push(await context.req.json());
      return context.json({}, 201);
    });
    app.post('/v1/chat/completions', () => new Response(chatEvents(shown.answer)));
    app.delete('/cluster/v1/deployments/:id', (context) => {
      shown.changes.push(context.req.param('id'));
      return context.body(null, 204);
    });
    const address = { host: '127.0.0.1', port: 0, limits };
    shown.#server = await listen((request) => app.fetch(request), address);
    return shown;
  }

  get url(): string {
    return this.#server?.url ?? '';
  }

  /** Tells every page that watches. */
  show(instances: readonly InstanceView[]): void {
    this.#state = stateOf(instances);
    this.#send(frame(this.#state));
  }

  /** As a machine that sleeps: its connections stay, and say nothing any more. */
  sleep(): void {
    clearInterval(this.#alive);
  }

  get watchers(): number {
    return this.#watchers.size;
  }

  async close(): Promise<void> {
    this.sleep();
    for (const watcher of this.#watchers) watcher.close();
    await this.#server?.close();
  }

  #send(bytes: Uint8Array): void {
    for (const watcher of this.#watchers) watcher.enqueue(bytes);
  }

  #watch(): Response {
    let own: ReadableStreamDefaultController<Uint8Array> | null = null;
    const stream = new ReadableStream<Uint8Array>({
      start: (controller) => {
        own = controller;
        this.#watchers.add(controller);
        controller.enqueue(frame(this.#state));
      },
      cancel: () => {
        if (own !== null) this.#watchers.delete(own);
      },
    });
    return new Response(stream, { headers: { 'Content-Type': 'text/event-stream' } });
  }
}

function chatEvents(answer: string): string {
  const pieces = answer.match(/.{1,7}/gsu) ?? [];
  const frames = pieces.map((content) => jsonEvent({ choices: [{ delta: { content } }] }));
  const usage = jsonEvent({ choices: [], usage: { completion_tokens: pieces.length } });
  return `${frames.join('')}${usage}data: [DONE]\n\n`;
}

function frame(state: ClusterState): Uint8Array {
  return encode(jsonEvent(state, 'state'));
}

function encode(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

function stateOf(instances: readonly InstanceView[]): ClusterState {
  const node = {
    id: 'node-1',
    name: 'attic',
    address: 'http://127.0.0.1:1',
    state: 'up',
    version: '1.2.3',
    platform: 'linux x64',
    cores: 8,
    memory: { totalBytes: 16e9, freeBytes: 4e9 },
    uptimeMs: 3_720_000,
  } as const;
  return { nodes: [node], links: [], deployments: [], instances: [...instances] };
}

/** An instance that is ready, with `changes`. */
export function instanceOf(changes: Partial<InstanceView> = {}): InstanceView {
  return {
    id: 'instance-1',
    deployment: 'deployment-1',
    model: 'org/model',
    state: 'ready',
    error: null,
    progress: null,
    contextLength: 8_192,
    plan: {
      kind: 'single',
      ranks: 1,
      executor: 'cpu',
      mode: 'fast',
      predicted: {
        memoryBytes: 270e6,
        ranks: [{ weightBytes: 1e8, cacheBytes: 15e7, workingBytes: 2e7 }],
      },
    },
    measured: {
      loadMs: 1_234,
      running: 0,
      waiting: 0,
      promptTokens: 0,
      generatedTokens: 0,
      tokensPerS: 0,
    },
    ranks: [{ rank: 0, node: 'node-1', pid: 4_711, state: 'ready', memoryBytes: 263e6 }],
    ...changes,
  };
}
