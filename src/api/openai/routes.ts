import { Hono } from 'hono';
import { CideryError } from '../../base/error.ts';
import type { CideryNode } from '../../node/node.ts';
import type { Clock } from '../../ports/clock.ts';
import { eventStream } from '../event-stream.ts';
import { parseBody } from '../parse-body.ts';
import { answerHead, chatCompletion, chatEvents, startChat } from './chat.ts';
import { completionEvents, startCompletions, textCompletion } from './completions.ts';
import { chatRequestSchema, completionRequestSchema } from './schemas.ts';

/** OpenAI's API under /v1. */
export function openAiRoutes(node: CideryNode, clock: Clock): Hono {
  const routes = new Hono();
  routes.post('/chat/completions', async (context) => {
    const body = await parseBody(context.req.raw, chatRequestSchema);
    const stop = stopper(context.req.raw.signal);
    const generation = await startChat(node, body, stop.signal);
    const head = answerHead('chatcmpl', node, body.model);
    if (body.stream !== true) return context.json(await chatCompletion(head, body, generation));
    return eventResponse(chatEvents(head, body, generation), clock, stop);
  });
  routes.post('/completions', async (context) => {
    const body = await parseBody(context.req.raw, completionRequestSchema);
    const stop = stopper(context.req.raw.signal);
    const generations = await startCompletions(node, body, stop.signal).catch((error: unknown) => {
      stop.abort(error);
      throw error;
    });
    const head = answerHead('cmpl', node, body.model);
    if (body.stream !== true) return context.json(await textCompletion(head, body, generations));
    return eventResponse(completionEvents(head, body, generations), clock, stop);
  });
  routes.get('/models', async (context) => {
    const models = await listedModels(node);
    return context.json({ object: 'list', data: models });
  });
  routes.get('/models/:id{.+}', async (context) => {
    const id = context.req.param('id');
    const found = (await listedModels(node)).find((model) => model.id === id);
    if (found === undefined) {
      throw new CideryError('model_not_found', `the model '${id}' is not on this machine`, {
        hint: `fetch it with \`cidery pull ${id}\``,
      });
    }
    return context.json(found);
  });
  return routes;
}

/** What is on disk, each with OpenAI's fields and its state: `ready` when it is loaded. */
async function listedModels(node: CideryNode) {
  const states = node.deployments.states();
  return (await node.library.list())
    .filter((model) => model.state === 'ready')
    .map((model) => ({
      id: model.id,
      object: 'model',
      created: Math.floor(model.modifiedMs / 1_000),
      owned_by: model.id.includes('/') ? (model.id.split('/')[0] ?? 'local') : 'cidery',
      state: states.get(model.id) ?? 'on disk',
      size_bytes: model.sizeBytes,
    }));
}

interface Stopper {
  readonly signal: AbortSignal;
  abort(reason: unknown): void;
}

/**
 * Ends with the client's connection, or when told to. The error is made when it is needed: its
 * stack refers to the request, whose signal keeps this listener for as long as the request lives.
 */
function stopper(client: AbortSignal): Stopper {
  const own = new AbortController();
  const onAbort = () => own.abort(new CideryError('cancelled', 'the client has left'));
  if (client.aborted) onAbort();
  client.addEventListener('abort', onAbort, { once: true });
  return { signal: own.signal, abort: (reason) => own.abort(reason) };
}

function eventResponse(
  events: AsyncGenerator<string, void, void>,
  clock: Clock,
  stop: Stopper,
): Response {
  return new Response(
    eventStream(events, clock, (reason) => stop.abort(reason)),
    { headers: { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-cache' } },
  );
}
