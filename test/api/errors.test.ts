import { type IncomingMessage, request } from 'node:http';
import OpenAI from 'openai';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { limits } from '../../src/base/limits.ts';
import { ScriptedRanks } from '../support/scripted-rank.ts';
import { echoModel, type ServedNode, serveNode } from '../support/served-node.ts';

let served: ServedNode;
let client: OpenAI;

beforeAll(async () => {
  served = await serveNode();
  client = new OpenAI({ baseURL: `${served.url}/v1`, apiKey: 'none', maxRetries: 0 });
});
afterAll(() => served.close());

const errorSchema = z.object({
  error: z.object({
    message: z.string(),
    type: z.string(),
    code: z.string(),
    param: z.string().nullable(),
  }),
});

/** The status, type, code and field of the error that a chat request gets. */
async function refusal(fields: object): Promise<unknown> {
  const body = { model: echoModel, messages: [{ role: 'user', content: 'hi' }], ...fields };
  const response = await post('/v1/chat/completions', JSON.stringify(body));
  return describeError(response);
}

function post(
  path: string,
  body: string | Uint8Array<ArrayBuffer> | ReadableStream,
): Promise<Response> {
  const headers = { 'Content-Type': 'application/json' };
  const init: RequestInit & { duplex: 'half' } = { method: 'POST', headers, body, duplex: 'half' };
  return fetch(served.url + path, init);
}

async function describeError(response: Response): Promise<unknown> {
  const { error } = errorSchema.parse(await response.json());
  return [response.status, error.type, error.code, error.param];
}

describe('errors of the OpenAI API', () => {
  test('an unknown model, in the words of the client library', async () => {
    const failure = await client.chat.completions
      .create({ model: 'no/such', messages: [{ role: 'user', content: 'hi' }] })
      .catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(OpenAI.NotFoundError);
    expect(failure).toMatchObject({
      status: 404,
      type: 'invalid_request_error',
      code: 'model_not_found',
      param: 'model',
    });
    await expect(client.models.retrieve('no/such')).rejects.toBeInstanceOf(OpenAI.NotFoundError);
  });

  test.each(['/etc/passwd', '../secret', './model.gguf', '~/model', 'file:///etc/passwd'])(
    'the path %s is no model',
    async (model) => {
      expect(await refusal({ model })).toEqual([
        404,
        'invalid_request_error',
        'model_not_found',
        'model',
      ]);
    },
  );

  const invalid = 'invalid_request_error';
  test.each<[string, object, unknown[]]>([
    ['no messages', { messages: [] }, ['array_below_min_length', 'messages']],
    ['no message list', { messages: undefined }, ['missing_required_parameter', 'messages']],
    ['a foreign role', { messages: [{ role: 'x', content: '' }] }, ['*', 'messages[0].role']],
    [
      'a user without content',
      { messages: [{ role: 'user' }] },
      ['missing_required_parameter', 'messages[0].content'],
    ],
    ['a hot temperature', { temperature: 2.5 }, ['decimal_above_max_value', 'temperature']],
    ['a temperature of text', { temperature: 'hot' }, ['invalid_type', 'temperature']],
    ['top_p below 0', { top_p: -0.1 }, ['decimal_below_min_value', 'top_p']],
    ['no tokens at all', { max_tokens: 0 }, ['integer_below_min_value', 'max_tokens']],
    ['half a token', { max_tokens: 1.5 }, ['invalid_type', 'max_tokens']],
    ['129 answers', { n: 129 }, ['integer_above_max_value', 'n']],
    ['17 stops', { stop: Array.from({ length: 17 }, () => 'x') }, ['*', 'stop']],
    ['an empty stop', { stop: '' }, ['*', 'stop']],
    ['21 alternatives', { logprobs: true, top_logprobs: 21 }, ['*', 'top_logprobs']],
    ['alternatives alone', { top_logprobs: 2 }, ['invalid_value', 'top_logprobs']],
    ['a bias on a word', { logit_bias: { word: 1 } }, ['*', 'logit_bias.word']],
    ['a bias too large', { logit_bias: { '1': 101 } }, ['*', 'logit_bias.1']],
    ['a bias far off', { logit_bias: { '99999999999': 1 } }, ['invalid_value', 'logit_bias']],
    [
      'JSON mode',
      { response_format: { type: 'json_object' } },
      ['unsupported_value', 'response_format'],
    ],
    [
      'a call that has to be made',
      { tool_choice: 'required' },
      ['unsupported_value', 'tool_choice'],
    ],
    [
      'a picture',
      { messages: [{ role: 'user', content: [{ type: 'image_url', image_url: { url: 'x' } }] }] },
      ['*', 'messages[0].content'],
    ],
  ])('%s', async (_name, fields, [code, field]) => {
    const found = await refusal(fields);
    expect(found).toEqual([
      400,
      invalid,
      code === '*' ? expect.any(String) : code,
      expect.stringContaining(String(field)),
    ]);
  });

  test.each([
    ['what is no JSON', '{"model":'],
    ['nothing', ''],
    ['a list', '[]'],
    ['a number', '7'],
    ['half a character', '"\u{D83D}"'],
  ])('a body that is %s', async (_name, body) => {
    const response = await post('/v1/chat/completions', body);
    expect(await describeError(response)).toEqual([400, invalid, expect.any(String), null]);
  });

  test('a body that is no UTF-8, with its length and without', async () => {
    const bytes = new Uint8Array([0x22, 0xff, 0x22]);
    for (const body of [bytes, new Response(bytes).body ?? '']) {
      const response = await post('/v1/chat/completions', body);
      expect(await describeError(response)).toEqual([400, invalid, 'body_not_json', null]);
    }
  });

  test('a body whose length is over the limit is refused before any of it', async () => {
    const sending = request(`${served.url}/v1/completions`, {
      method: 'POST',
      headers: { 'content-length': limits.bodyMaxBytes + 1 },
    });
    sending.flushHeaders();
    const answer = await new Promise<IncomingMessage>((resolve, reject) => {
      sending.on('response', resolve).on('error', reject);
    });
    expect(answer.statusCode).toBe(413);
    sending.destroy();
  });

  test('a body that is nested too deeply', async () => {
    const tools = `${'['.repeat(50_000)}${']'.repeat(50_000)}`;
    const messages = '[{"role":"user","content":"x"}]';
    const body = `{"model":"${echoModel}","messages":${messages},"tools":${tools}}`;
    const response = await post('/v1/chat/completions', body);
    expect(await describeError(response)).toEqual([400, invalid, 'body_too_deep', null]);
  });

  test('a body over the limit is refused before it has come whole', async () => {
    let sent = 0;
    const body = new ReadableStream<Uint8Array>({
      pull(controller) {
        sent += 1 << 20;
        controller.enqueue(new Uint8Array(1 << 20).fill(0x20));
        if (sent > 4 * limits.bodyMaxBytes) controller.close();
      },
    });
    const response = await post('/v1/chat/completions', body).catch(() => null);
    // The connection may end before a client that is still sending reads the answer.
    if (response !== null) {
      expect(await describeError(response)).toEqual([413, invalid, 'body_too_large', null]);
    }
    expect(sent).toBeLessThan(2 * limits.bodyMaxBytes);
  });

  test('a prompt that is longer than the context', async () => {
    const content = Array.from({ length: 65 }, () => 'w').join(' ');
    const expected = [400, invalid, 'context_length_exceeded', 'messages'];
    const messages = [{ role: 'user', content }];
    expect(await refusal({ messages })).toEqual(expected);
    expect(await refusal({ messages, stream: true })).toEqual(expected);
    const text = await post(
      '/v1/completions',
      JSON.stringify({ model: echoModel, prompt: content }),
    );
    expect(await describeError(text)).toEqual([400, invalid, 'context_length_exceeded', 'prompt']);
  });

  test('an unknown path, in the form of whoever is asked', async () => {
    expect(await describeError(await fetch(`${served.url}/v1/nothing`))).toEqual([
      404,
      invalid,
      'not_found',
      null,
    ]);
    const own = await fetch(`${served.url}/cluster/v1/nothing`);
    expect([own.status, await own.json()]).toEqual([
      404,
      { error: { code: 'not_found', message: 'there is no GET /cluster/v1/nothing' } },
    ]);
  });
});

describe('a full node', () => {
  test('answers 429 with Retry-After, and serves again afterwards', async () => {
    const slow = await serveNode({ ranks: new ScriptedRanks({ tokenMs: 100_000 }) });
    const body = { model: echoModel, messages: [{ role: 'user', content: 'hi' }], stream: true };
    const ask = (signal: AbortSignal): Promise<Response> =>
      fetch(`${slow.url}/v1/chat/completions`, {
        method: 'POST',
        body: JSON.stringify(body),
        signal,
      });
    const leave = new AbortController();
    const waiting = Array.from({ length: limits.requestsPerModelMax }, () => ask(leave.signal));
    const taken = await Promise.all(waiting);
    expect(new Set(taken.map(({ status }) => status))).toEqual(new Set([200]));
    const refused = await ask(leave.signal);
    expect([refused.status, refused.headers.get('retry-after')]).toEqual([429, '1']);
    expect(await refused.json()).toMatchObject({
      error: { type: 'rate_limit_error', code: 'rate_limit_exceeded' },
    });
    leave.abort();
    await expect.poll(() => slow.ranks.last.active, { timeout: 5_000 }).toBe(0);
    const again = new AbortController();
    expect((await ask(again.signal)).status).toBe(200);
    again.abort();
    await slow.close();
  });
});
