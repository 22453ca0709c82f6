import { type Context, Hono } from 'hono';
import { routePath } from 'hono/route';
import { CideryError } from '../base/error.ts';
import type { CideryNode } from '../node/node.ts';
import type { Clock } from '../ports/clock.ts';
import { clusterErrorBody, clusterRoutes } from './cluster/routes.ts';
import { guardKey, guardSource, type GuardSettings, isListedOrigin } from './guard.ts';
import { httpError } from './http-error.ts';
import { Metrics } from './metrics.ts';
import { errorBody } from './openai/errors.ts';
import { openAiRoutes } from './openai/routes.ts';
import { type Page, pageRoutes } from './page.ts';

export interface ApiSettings extends GuardSettings {
  readonly page: Page;
  /** Aborted when the node closes: streams that would go on for ever end. */
  readonly closing: AbortSignal;
}

/** The whole HTTP face of a node. */
export function createApi(node: CideryNode, clock: Clock, settings: ApiSettings): Hono {
  const app = new Hono();
  const metrics = new Metrics();
  app.use(async (context, next) => {
    const startedMs = clock.monotonic();
    await next();
    const ms = clock.monotonic() - startedMs;
    // Never the body and never the query: prompts are in no log.
    const { method, path } = context.req;
    node.logs.add('http', `${method} ${path} ${context.res.status} ${ms.toFixed(1)} ms`);
    metrics.record(routePath(context), context.res.status, ms / 1_000);
  });
  app.use(async (context, next) => {
    const origin = context.req.header('origin');
    guardSource(context.req.raw, settings);
    if (origin === undefined || !isListedOrigin(origin, settings.origins)) return next();
    if (context.req.method === 'OPTIONS') return preflight(origin);
    await next();
    context.res.headers.set('Access-Control-Allow-Origin', origin);
    context.res.headers.append('Vary', 'Origin');
  });
  // After the answers to preflights, which browsers ask without the key.
  app.use((context, next) => {
    guardKey(context.req.raw, settings);
    return next();
  });
  app.get('/health', async (context) => {
    const models = Array.from(node.deployments.states(), ([id, state]) => ({ id, state }));
    return context.json({ status: 'ok', models });
  });
  app.get('/metrics', (context) =>
    context.text(metrics.text(node.state()), 200, {
      'Content-Type': 'text/plain; version=0.0.4; charset=utf-8',
    }),
  );
  app.route('/', pageRoutes(settings.page));
  app.route('/v1', openAiRoutes(node, clock));
  app.route('/cluster/v1', clusterRoutes(node, clock, settings.closing));
  app.notFound((context) => {
    const { method, path } = context.req;
    return answerError(context, new CideryError('not_found', `there is no ${method} ${path}`));
  });
  app.onError((error, context) => answerError(context, error));
  return app;
}

function answerError(context: Context, thrown: unknown): Response {
  const { status, retryAfterS } = httpError(thrown);
  if (retryAfterS !== null) context.header('Retry-After', `${retryAfterS}`);
  const { path } = context.req;
  const promptField = path === '/v1/completions' ? 'prompt' : 'messages';
  const body = path.startsWith('/cluster/')
    ? clusterErrorBody(thrown)
    : errorBody(thrown, promptField);
  return new Response(JSON.stringify(body), {
    status,
    headers: {
      'Content-Type': 'application/json',
      ...(retryAfterS === null ? {} : { 'Retry-After': `${retryAfterS}` }),
    },
  });
}

function preflight(origin: string): Response {
  return new Response(null, {
    status: 204,
    headers: {
      'Access-Control-Allow-Origin': origin,
      'Access-Control-Allow-Methods': 'GET, POST, DELETE',
      'Access-Control-Allow-Headers': 'Authorization, Content-Type, X-Api-Key',
      'Access-Control-Max-Age': '600',
      Vary: 'Origin',
    },
  });
}
