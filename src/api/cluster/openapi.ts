import { z } from 'zod';
import {
  clusterStateSchema,
  deploymentSchema,
  modelPlansSchema,
  newDeploymentSchema,
  newPlanSchema,
} from '../../node/cluster-state.ts';

const errorSchema = z.strictObject({
  error: z.strictObject({ code: z.string(), message: z.string(), hint: z.string().optional() }),
});

export const logsSchema = z.strictObject({
  lines: z.array(z.strictObject({ timeMs: z.number(), source: z.string(), text: z.string() })),
});

/** The OpenAPI 3.1 description of /cluster/v1, made from the schemas that parse and type it. */
export function openApiDocument(version: string): object {
  return {
    openapi: '3.1.0',
    info: { title: 'cidery cluster', version },
    servers: [{ url: '/cluster/v1' }],
    paths: {
      '/state': { get: operation('Everything as it is now', 200, clusterStateSchema) },
      '/events': {
        get: {
          summary: 'The state as it changes: events named `state`, each with the whole state',
          responses: {
            200: {
              description: 'Server-sent events',
              content: { 'text/event-stream': { schema: { type: 'string' } } },
            },
            default: errorResponse,
          },
        },
      },
      '/logs': { get: operation('The last lines of the log', 200, logsSchema) },
      '/deployments': {
        post: {
          ...operation('Run a model that is on disk', 201, deploymentSchema),
          requestBody: bodyOf(newDeploymentSchema),
        },
      },
      '/deployments/{id}': {
        delete: {
          summary: 'Stop a model',
          parameters: [{ name: 'id', in: 'path', required: true, schema: { type: 'string' } }],
          responses: { 204: { description: 'Stopped' }, default: errorResponse },
        },
      },
      '/plans': {
        post: {
          ...operation('How a model that is on disk would run, with memory', 200, modelPlansSchema),
          requestBody: bodyOf(newPlanSchema),
        },
      },
    },
  };
}

const errorResponse = { description: 'What is wrong', content: content(errorSchema) };

function content(schema: z.ZodType): object {
  return { 'application/json': { schema: z.toJSONSchema(schema) } };
}

function bodyOf(schema: z.ZodType): object {
  return { required: true, content: content(schema) };
}

function operation(summary: string, status: number, schema: z.ZodType): object {
  return {
    summary,
    responses: {
      [status]: { description: summary, content: content(schema) },
      default: errorResponse,
    },
  };
}
