import { Hono } from 'hono';
import { CideryError } from '../../base/error.ts';
import { limits } from '../../base/limits.ts';
import { newDeploymentSchema, newPlanSchema } from '../../node/cluster-state.ts';
import type { CideryNode } from '../../node/node.ts';
import type { Clock } from '../../ports/clock.ts';
import { eventStream, jsonEvent } from '../event-stream.ts';
import { httpError } from '../http-error.ts';
import { parseBody } from '../parse-body.ts';
import { openApiDocument } from './openapi.ts';
import { stateEvents } from './state-events.ts';

/**
 * The node's own API under /cluster/v1.
 *
 * @param closing ends what would go on for ever: the watchers' streams
 */
export function clusterRoutes(node: CideryNode, clock: Clock, closing: AbortSignal): Hono {
  const routes = new Hono();
  const watchers = new Set<object>();
  routes.get('/state', (context) => context.json(node.state()));
  routes.get('/openapi.json', (context) => context.json(openApiDocument(node.version)));
  routes.get('/events', () => {
    if (watchers.size >= limits.stateWatchersMax) {
      throw new CideryError('too_many_requests', `${watchers.size} pages watch this node already`);
    }
    const stop = new AbortController();
    const signal = AbortSignal.any([stop.signal, closing]);
    const frames = watched(stateEvents(node, clock, signal), watchers);
    return new Response(
      eventStream(frames, clock, (reason) => stop.abort(reason)),
      { headers: { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-cache' } },
    );
  });
  routes.post('/deployments', async (context) => {
    const wanted = await parseBody(context.req.raw, newDeploymentSchema);
    return context.json(await node.deployments.create(wanted), 201);
  });
  routes.delete('/deployments/:id', async (context) => {
    await node.deployments.remove(context.req.param('id'));
    return context.body(null, 204);
  });
  routes.post('/plans', async (context) =>
    context.json(await node.plans(await parseBody(context.req.raw, newPlanSchema))),
  );
  routes.get('/logs', (context) => context.json({ lines: node.logs.list() }));
  return routes;
}

/** Frames of states; counted among the watchers from the first that is fetched to the end. */
async function* watched(
  states: AsyncIterable<unknown>,
  watchers: Set<object>,
): AsyncGenerator<string, void, void> {
  watchers.add(states);
  try {
    for await (const state of states) yield jsonEvent(state, 'state');
  } finally {
    watchers.delete(states);
  }
}

/** An error in this API's form. */
export function clusterErrorBody(thrown: unknown): object {
  const { code, message, hint } = httpError(thrown);
  return { error: hint === null ? { code, message } : { code, message, hint } };
}
