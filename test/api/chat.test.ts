import OpenAI from 'openai';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { echoModel, type ServedNode, serveNode } from '../support/served-node.ts';

let served: ServedNode;
let client: OpenAI;

beforeAll(async () => {
  served = await serveNode();
  client = new OpenAI({ baseURL: `${served.url}/v1`, apiKey: 'none', maxRetries: 0 });
});
afterAll(() => served.close());

const messages = [{ role: 'user' as const, content: 'one two three' }];

describe('chat completions', () => {
  test('a whole answer', async () => {
    const answer = await client.chat.completions.create({ model: echoModel, messages });
    expect(answer).toEqual({
      id: expect.stringMatching(/^chatcmpl-id\d+$/),
      object: 'chat.completion',
      created: expect.any(Number),
      model: echoModel,
      choices: [
        {
          index: 0,
          message: { role: 'assistant', content: 'one two three ', refusal: null },
          logprobs: null,
          finish_reason: 'stop',
        },
      ],
      usage: {
        prompt_tokens: 3,
        completion_tokens: 3,
        total_tokens: 6,
        prompt_tokens_details: { cached_tokens: 0 },
      },
      timings: { prompt_n: 3, prompt_ms: 2, predicted_n: 3, predicted_ms: 3 },
    });
  });

  test('a streamed answer with usage', async () => {
    const stream = await client.chat.completions.create({
      model: echoModel,
      messages,
      max_completion_tokens: 2,
      stream: true,
      stream_options: { include_usage: true },
    });
    const chunks = [];
    for await (const chunk of stream) chunks.push(chunk);
    expect(chunks.map(({ choices }) => choices)).toEqual([
      [
        {
          index: 0,
          delta: { role: 'assistant', content: '', refusal: null },
          logprobs: null,
          finish_reason: null,
        },
      ],
      [{ index: 0, delta: { content: 'one ' }, logprobs: null, finish_reason: null }],
      [{ index: 0, delta: { content: 'two ' }, logprobs: null, finish_reason: null }],
      [{ index: 0, delta: {}, logprobs: null, finish_reason: 'length' }],
      [],
    ]);
    expect(chunks.at(-1)).toHaveProperty('timings.predicted_n', 2);
    expect(chunks.map(({ usage }) => usage?.total_tokens)).toEqual([
      undefined,
      undefined,
      undefined,
      undefined,
      5,
    ]);
    expect(new Set(chunks.map(({ id }) => id)).size).toBe(1);
  });

  test('the client library puts a stream together', async () => {
    const runner = client.chat.completions.stream({ model: echoModel, messages });
    expect((await runner.finalChatCompletion()).choices[0]?.message.content).toBe('one two three ');
  });

  test('several answers, whole and streamed', async () => {
    const whole = await client.chat.completions.create({ model: echoModel, messages, n: 2 });
    expect(whole.choices.map(({ index, message }) => [index, message.content])).toEqual([
      [0, 'one two three '],
      [1, 'one two three '],
    ]);
    expect(whole.usage?.completion_tokens).toBe(6);
    const runner = client.chat.completions.stream({ model: echoModel, messages, n: 2 });
    const streamed = await runner.finalChatCompletion();
    expect(streamed.choices.map(({ message }) => message.content)).toEqual([
      'one two three ',
      'one two three ',
    ]);
  });

  test('log probabilities with alternatives', async () => {
    const answer = await client.chat.completions.create({
      model: echoModel,
      messages: [{ role: 'user', content: 'é' }],
      logprobs: true,
      top_logprobs: 2,
    });
    expect(answer.choices[0]?.logprobs).toEqual({
      content: [
        {
          token: 'é ',
          logprob: -0.5,
          bytes: [0xc3, 0xa9, 0x20],
          top_logprobs: [
            { token: 'other0', logprob: -1, bytes: [...Buffer.from('other0')] },
            { token: 'other1', logprob: -2, bytes: [...Buffer.from('other1')] },
          ],
        },
      ],
      refusal: null,
    });
  });

  test('a token that is a part of a character has no bytes', async () => {
    const { choices } = await client.chat.completions.create({
      model: echoModel,
      messages: [{ role: 'user', content: '\u{FFFD}' }],
      logprobs: true,
    });
    expect(choices[0]?.logprobs?.content?.map(({ token, bytes }) => [token, bytes])).toEqual([
      ['\u{FFFD} ', null],
    ]);
  });

  test('every sampling field reaches the rank', async () => {
    await client.chat.completions.create({
      model: echoModel,
      messages,
      temperature: 0.5,
      top_p: 0.25,
      seed: -1,
      stop: ['x', 'y'],
      presence_penalty: 0.5,
      frequency_penalty: -0.5,
      logit_bias: { '7': -100 },
      ...{ top_k: 5, min_p: 0.125, repetition_penalty: 1.5, ignore_eos: true },
    });
    expect(served.ranks.last.generations.at(-1)?.options).toEqual({
      maxTokens: null,
      ignoreEos: true,
      stop: ['x', 'y'],
      choices: 1,
      logprobs: null,
      skipSpecial: true,
      sampling: {
        temperature: 0.5,
        topP: 0.25,
        topK: 5,
        minP: 0.125,
        repetitionPenalty: 1.5,
        presencePenalty: 0.5,
        frequencyPenalty: -0.5,
        seed: '18446744073709551615',
        logitBias: [{ token: 7, value: -100 }],
      },
    });
  });

  test('messages of every role and kind of content become what templates take', async () => {
    await client.chat.completions.create({
      model: echoModel,
      messages: [
        { role: 'developer', content: 'be brief' },
        {
          role: 'user',
          content: [
            { type: 'text', text: 'a' },
            { type: 'text', text: 'b' },
          ],
        },
        {
          role: 'assistant',
          content: null,
          tool_calls: [
            { id: 'c1', type: 'function', function: { name: 'f', arguments: '{"x":1}' } },
          ],
        },
        { role: 'tool', tool_call_id: 'c1', content: 'result' },
      ],
    });
    expect(served.ranks.last.generations.at(-1)?.input).toEqual({
      kind: 'chat',
      messages: [
        { role: 'system', content: 'be brief' },
        { role: 'user', content: 'ab' },
        {
          role: 'assistant',
          content: '',
          tool_calls: [
            { id: 'c1', type: 'function', function: { name: 'f', arguments: { x: 1 } } },
          ],
        },
        { role: 'tool', content: 'result', tool_call_id: 'c1' },
      ],
      tools: null,
      variables: {},
    });
  });

  test('a stop string ends the answer', async () => {
    const answer = await client.chat.completions.create({
      model: echoModel,
      messages,
      stop: 'thr',
    });
    expect(answer.choices[0]).toMatchObject({
      message: { content: 'one two ' },
      finish_reason: 'stop',
    });
  });

  test('a tool call sent back with odd keys in its arguments changes nothing', async () => {
    const odd = '{"__proto__":{"polluted":true}}';
    await client.chat.completions.create({
      model: echoModel,
      messages: [
        {
          role: 'assistant',
          tool_calls: [{ id: 'c', type: 'function', function: { name: 'f', arguments: odd } }],
        },
        ...messages,
      ],
    });
    expect('polluted' in {}).toBe(false);
  });
});

describe('models', () => {
  test('lists what is on disk with its state, and names one', async () => {
    const list = await client.models.list();
    expect(list.data).toEqual([
      {
        id: echoModel,
        object: 'model',
        created: 1_700_000_000,
        owned_by: 'test',
        state: 'ready',
        size_bytes: 1_000,
      },
    ]);
    expect(await client.models.retrieve(echoModel)).toMatchObject({ id: echoModel });
  });
});
