import { Hono } from 'hono';
import { CideryError } from '../../base/error.ts';
import { limits } from '../../base/limits.ts';
import { newDeploymentSchema } from '../../node/cluster-state.ts';
import type { CideryNode } from '../../node/node.ts';
import type { Clock } from '../../ports/clock.ts';
import { eventStream, jsonEvent } from '../event-stream.ts';
import { httpError } from '../http-error.ts';
import { parseBody } from '../parse-body.ts';
import { openApiDocument } from './openapi.ts';
import { stateEvents } from './state-events.ts';

/** The node's own API under /cluster/v1. */
export function clusterRoutes(node: CideryNode, clock: Clock): Hono {
  const routes = new Hono();
  let watchers = 0;
  routes.get('/state', (context) => context.json(node.state()));
  routes.get('/openapi.json', (context) => context.json(openApiDocument(node.version)));
  routes.get('/events', (context) => {
    if (watchers >= limits.stateWatchersMax) {
      throw new CideryError('too_many_requests', `${watchers} pages watch this node already`);
    }
    watchers += 1;
    const events = stateEvents(node, clock);
    const frames = jsonFrames(events.states, () => (watchers -= 1));
    context.req.raw.signal.addEventListener('abort', () => events.stop(), { once: true });
    return new Response(
      eventStream(frames, clock, () => events.stop()),
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
  routes.get('/logs', (context) => context.json({ lines: node.logs.list() }));
  return routes;
}

async function* jsonFrames(
  values: AsyncIterable<unknown>,
  onEnd: () => void,
): AsyncGenerator<string, void, void> {
  try {
    for await (const value of values) yield jsonEvent(value, 'state');
  } finally {
    onEnd();
  }
}

/** An error in this API's form. */
export function clusterErrorBody(thrown: unknown): object {
  const { code, message, hint } = httpError(thrown);
  return { error: hint === null ? { code, message } : { code, message, hint } };
}
