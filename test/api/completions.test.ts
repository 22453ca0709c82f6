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

describe('text completions', () => {
  test('a text, a list of texts, ids and lists of ids', async () => {
    const texts = async (prompt: OpenAI.CompletionCreateParams['prompt']) => {
      const answer = await client.completions.create({ model: echoModel, prompt });
      return answer.choices.map(({ index, text }) => [index, text]);
    };
    expect(await texts('a b')).toEqual([[0, 'a b ']]);
    expect(await texts(['a', 'b c'])).toEqual([
      [0, 'a '],
      [1, 'b c '],
    ]);
    expect(await texts([7, 8])).toEqual([[0, '7 8 ']]);
    expect(await texts([[7], [8, 9]])).toEqual([
      [0, '7 '],
      [1, '8 9 '],
    ]);
  });

  test('16 tokens unless told otherwise, and the usage of all prompts', async () => {
    const prompt = Array.from({ length: 20 }, () => 'w').join(' ');
    const answer = await client.completions.create({ model: echoModel, prompt: [prompt, 'x'] });
    expect(answer.choices.map(({ finish_reason }) => finish_reason)).toEqual(['length', 'stop']);
    expect(answer).toMatchObject({
      usage: { prompt_tokens: 21, completion_tokens: 17, total_tokens: 38 },
      timings: { prompt_n: 21, prompt_ms: 4, predicted_n: 17, predicted_ms: 6 },
    });
  });

  test('a stream of several prompts and answers, with log probabilities', async () => {
    const stream = await client.completions.create({
      model: echoModel,
      prompt: ['a b', 'c'],
      n: 2,
      logprobs: 1,
      stream: true,
      stream_options: { include_usage: true },
    });
    const texts = ['', '', '', ''];
    const offsets: number[][] = [[], [], [], []];
    let total: number | undefined;
    for await (const { choices, usage } of stream) {
      for (const { index, text, logprobs } of choices) {
        texts[index] += text;
        offsets[index]?.push(...(logprobs?.text_offset ?? []));
      }
      total = usage?.total_tokens ?? total;
    }
    expect(texts).toEqual(['a b ', 'a b ', 'c ', 'c ']);
    expect(offsets).toEqual([[0, 2], [0, 2], [0], [0]]);
    expect(total).toBe(9);
  });
});
