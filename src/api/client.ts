import { z } from 'zod';
import { CideryError, errorMessage } from '../base/error.ts';
import {
  type ClusterState,
  clusterStateSchema,
  deploymentSchema,
  type DeploymentView,
  type NewDeployment,
} from '../node/cluster-state.ts';
import type { Fetch } from '../ports/fetch.ts';
import { logsSchema } from './cluster/openapi.ts';
import { readEvents } from './read-events.ts';

/** What a chat or text completion is asked with; the fields are OpenAI's. */
export interface CompletionFields {
  readonly model: string;
  readonly messages?: readonly { readonly role: string; readonly content: string }[];
  readonly prompt?: string;
  readonly max_tokens?: number;
  readonly temperature?: number;
  readonly top_p?: number;
  readonly seed?: number;
}

export interface CompletionChunk {
  readonly text: string;
  readonly finishReason: string | null;
  /** With the last chunk. */
  readonly usage: { readonly promptTokens: number; readonly generatedTokens: number } | null;
}

const healthSchema = z.looseObject({ status: z.literal('ok') });
const errorSchema = z.looseObject({
  error: z.looseObject({
    code: z.string().nullable(),
    message: z.string(),
    hint: z.string().optional(),
  }),
});
const chunkSchema = z.looseObject({
  choices: z.array(
    z.looseObject({
      delta: z.looseObject({ content: z.string().nullish() }).optional(),
      text: z.string().optional(),
      finish_reason: z.string().nullable(),
    }),
  ),
  usage: z.looseObject({ prompt_tokens: z.int(), completion_tokens: z.int() }).nullish(),
});

/**
 * A client of a node's HTTP API. Every method rejects with the node's own coded error,
 * `node_unreachable`, `node_answer_invalid`, or the signal's reason.
 */
export class ApiClient {
  readonly url: string;
  readonly #fetch: Fetch;
  readonly #key: string | null;

  constructor(url: string, key: string | null, fetch: Fetch) {
    this.url = url;
    this.#key = key;
    this.#fetch = fetch;
  }

  async health(signal: AbortSignal): Promise<void> {
    await this.#json(healthSchema, 'GET', '/health', signal);
  }

  state(signal: AbortSignal): Promise<ClusterState> {
    return this.#json(clusterStateSchema, 'GET', '/cluster/v1/state', signal);
  }

  /** The state at once and after every change, until the loop is left. */
  async *states(signal: AbortSignal): AsyncGenerator<ClusterState, void, void> {
    const response = await this.#send('GET', '/cluster/v1/events', signal);
    for await (const data of readEvents(bodyOf(response))) yield parsed(clusterStateSchema, data);
  }

  deploy(wanted: NewDeployment, signal: AbortSignal): Promise<DeploymentView> {
    return this.#json(deploymentSchema, 'POST', '/cluster/v1/deployments', signal, wanted);
  }

  async removeDeployment(id: string, signal: AbortSignal): Promise<void> {
    await this.#send('DELETE', `/cluster/v1/deployments/${encodeURIComponent(id)}`, signal);
  }

  async logs(signal: AbortSignal): Promise<z.infer<typeof logsSchema>['lines']> {
    return (await this.#json(logsSchema, 'GET', '/cluster/v1/logs', signal)).lines;
  }

  /** Streams the answer to messages, or (with `prompt`) the continuation of a text. */
  async *complete(
    fields: CompletionFields,
    signal: AbortSignal,
  ): AsyncGenerator<CompletionChunk, void, void> {
    const path = fields.messages === undefined ? '/v1/completions' : '/v1/chat/completions';
    const response = await this.#send('POST', path, signal, {
      ...fields,
      stream: true,
      stream_options: { include_usage: true },
    });
    let done = false;
    for await (const data of readEvents(bodyOf(response))) {
      if (data === '[DONE]') {
        done = true;
        continue;
      }
      const value = json(data);
      const failed = errorSchema.safeParse(value);
      if (failed.success) throw nodeError(failed.data.error);
      yield chunkOf(check(chunkSchema, value));
    }
    if (!done) throw invalidAnswer('the answer ended before its end');
  }

  async #json<Schema extends z.ZodType>(
    schema: Schema,
    method: string,
    path: string,
    signal: AbortSignal,
    body?: unknown,
  ): Promise<z.infer<Schema>> {
    const response = await this.#send(method, path, signal, body);
    return parsed(schema, await response.text());
  }

  async #send(
    method: string,
    path: string,
    signal: AbortSignal,
    body?: unknown,
  ): Promise<Response> {
    const headers: Record<string, string> = {};
    if (this.#key !== null) headers['Authorization'] = `Bearer ${this.#key}`;
    if (body !== undefined) headers['Content-Type'] = 'application/json';
    let response: Response;
    try {
      const payload = body === undefined ? {} : { body: JSON.stringify(body) };
      response = await this.#fetch(this.url + path, { method, headers, signal, ...payload });
    } catch (cause) {
      signal.throwIfAborted();
      throw new CideryError('node_unreachable', `no node answers at ${this.url}`, {
        hint: 'see whether it runs: `cidery status`',
        cause,
      });
    }
    if (response.ok) return response;
    const failed = errorSchema.safeParse(json(await response.text()));
    if (failed.success) throw nodeError(failed.data.error);
    throw invalidAnswer(`status ${response.status}`);
  }
}

function chunkOf({ choices, usage }: z.infer<typeof chunkSchema>): CompletionChunk {
  const choice = choices[0];
  return {
    text: choice?.delta?.content ?? choice?.text ?? '',
    finishReason: choice?.finish_reason ?? null,
    usage: usage
      ? { promptTokens: usage.prompt_tokens, generatedTokens: usage.completion_tokens }
      : null,
  };
}

function nodeError({ code, message, hint }: z.infer<typeof errorSchema>['error']): CideryError {
  if (code !== null && ['key_missing', 'key_wrong', 'invalid_api_key'].includes(code)) {
    return new CideryError(code, message, { hint: 'set CIDERY_API_KEY to the key of the node' });
  }
  return new CideryError(code ?? 'node_failed', message, hint === undefined ? {} : { hint });
}

function bodyOf(response: Response): ReadableStream<Uint8Array> {
  if (response.body === null) throw invalidAnswer('it has no body');
  return response.body;
}

function parsed<Schema extends z.ZodType>(schema: Schema, text: string): z.infer<Schema> {
  return check(schema, json(text));
}

function check<Schema extends z.ZodType>(schema: Schema, value: unknown): z.infer<Schema> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  throw invalidAnswer(errorMessage(result.error));
}

function json(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw invalidAnswer('it is not JSON', cause);
  }
}

function invalidAnswer(what: string, cause?: unknown): CideryError {
  return new CideryError('node_answer_invalid', `the node's answer is not understood: ${what}`, {
    hint: 'the node may be of another version; restart it',
    cause,
  });
}
