import { describe, expect, test } from 'vitest';
import type { z } from 'zod';
import { parseBody } from '../parse-body.ts';
import { chatRequestSchema, completionRequestSchema } from './schemas.ts';

/** What a body is refused with. */
async function refusal(schema: z.ZodType, fields: object): Promise<string> {
  const body = JSON.stringify({ model: 'm', ...fields });
  const request = new Request('http://test', { method: 'POST', body });
  return parseBody(request, schema).then(
    () => 'taken',
    (error: Error) => error.message,
  );
}

describe('a prompt', () => {
  const whatItIs = 'a prompt is text, or a list of whole token ids';

  test.each<[unknown, string]>([
    [[1.5], `'prompt[0]': ${whatItIs}`],
    [[[1, 2.5]], `'prompt[0][1]': ${whatItIs}`],
    [[1, 'a'], `'prompt[0]': ${whatItIs}`],
    [['a', 1], `'prompt[1]': ${whatItIs}`],
    [[['a']], `'prompt[0][0]': ${whatItIs}`],
    [[null], `'prompt[0]': ${whatItIs}`],
    [[-1], "'prompt[0]': Too small: expected number to be >=0"],
    [
      1.5,
      "'prompt': expected a string, a list of strings, a list of token ids or a list of such lists",
    ],
  ])('%j is refused in words that help', async (prompt, message) => {
    const found = await refusal(completionRequestSchema, { prompt });
    expect(found).toBe(`Invalid value for ${message}.`);
  });

  test.each([['a'], [['a', 'b']], [[1, 2]], [[[1], [2, 3]]]])('%j is one', async (prompt) => {
    expect(await refusal(completionRequestSchema, { prompt })).toBe('taken');
  });
});

test.each<[object, string]>([
  [
    { messages: [{ role: 'user', content: [1] }] },
    "'messages[0].content[0]': expected a text part",
  ],
  [{ tool_choice: 5 }, "'tool_choice': expected a string or an object"],
  [{ logit_bias: { word: 1 } }, "'logit_bias.word': expected a token id for a key"],
  [{ logit_bias: { 1: 'x' } }, "'logit_bias.1': Invalid input: expected number, received string"],
])('a chat with %j is refused in words that help', async (fields, message) => {
  const messages = [{ role: 'user', content: 'a' }];
  const found = await refusal(chatRequestSchema, { messages, ...fields });
  expect(found).toBe(`Invalid value for ${message}.`);
});
