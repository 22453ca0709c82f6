import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createDetokenizer } from './detokenizer.ts';
import { testTokenizer, testTokenizers } from '../../test/support/tokenizers.ts';
import { Tokenizer } from './tokenizer.ts';

function pieces(tokenizer: Tokenizer, ids: readonly number[], skipSpecial: boolean): string[] {
  const detokenizer = createDetokenizer(tokenizer, skipSpecial);
  return [...ids.map((id) => detokenizer.push(id)), detokenizer.finish()];
}

/** Ids of the whole vocabulary, a few beyond it, and often those that stand for single bytes. */
function anyIds(tokenizer: Tokenizer): fc.Arbitrary<number[]> {
  const size = tokenizer.vocabularySize;
  const bytes = Array.from({ length: 256 }, (_, byte) =>
    tokenizer.id(`<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`),
  ).filter((id) => id !== null);
  const low = fc.nat(Math.min(size, 300));
  const byteId = bytes.length > 0 ? fc.constantFrom(...bytes) : low;
  return fc.array(fc.oneof(fc.nat(size + 2), low, byteId), { maxLength: 40 });
}

describe.each(testTokenizers)('$name', ({ tokenizer }) => {
  test.each([true, false])(
    'pieces of any ids join to the decoded text (skip: %s)',
    async (skip) => {
      await fc.assert(
        fc.asyncProperty(anyIds(tokenizer), async (ids) => {
          const shown = pieces(tokenizer, ids, skip);
          expect(shown.join('')).toBe(await tokenizer.decode(ids, skip));
          expect(shown.filter((piece) => /[\ud800-\udbff]$/.test(piece))).toEqual([]);
        }),
        { numRuns: 300 },
      );
    },
  );

  test('pieces of a real text never show half a character', async () => {
    const ids = await tokenizer.encode('Zoë 漢字 😀 👩‍👩‍👧, done.', false);
    const whole = await tokenizer.decode(ids, false);
    const shown = pieces(tokenizer, ids, false);
    expect(shown.join('')).toBe(whole);
    if (!whole.includes('\ufffd')) expect(shown.join('|')).not.toContain('\ufffd');
  });

  test('goes on after ids whose pieces were sent', () => {
    fc.assert(
      fc.property(anyIds(tokenizer), fc.nat(40), (ids, cut) => {
        const resumed = createDetokenizer(tokenizer, true, ids.slice(0, cut));
        const rest = [...ids.slice(cut).map((id) => resumed.push(id)), resumed.finish()];
        expect(rest).toEqual(pieces(tokenizer, ids, true).slice(Math.min(cut, ids.length)));
      }),
    );
  });
});

test('a character of several tokens comes whole with its last one', async () => {
  const tokenizer = testTokenizer('byteLevel');
  const ids = await tokenizer.encode('a😀b', false);
  expect(pieces(tokenizer, ids, false)).toEqual(['a', '', '', '😀', 'b', '']);
});

test('a run of byte tokens waits for its end, as one wrong byte spoils all of it', () => {
  const tokenizer = testTokenizer('gemma');
  const id = (byte: string): number => tokenizer.id(`<0x${byte}>`) ?? -1;
  const text = tokenizer.id('t') ?? -1;
  expect(pieces(tokenizer, [id('41'), id('42'), text], false)).toEqual(['', '', 'ABt', '']);
  expect(pieces(tokenizer, [id('41'), id('FF'), text], false)).toEqual([
    '',
    '',
    '\ufffd\ufffdt',
    '',
  ]);
});

/** Decoders that no streaming joiner knows, and one in a wrapping. */
const odd = [
  { type: 'CTC', pad_token: '<unk>', word_delimiter_token: '|', cleanup: true },
  { type: 'BPEDecoder', suffix: 'e' },
  {
    type: 'Sequence',
    decoders: [
      { type: 'ByteFallback' },
      { type: 'Metaspace', replacement: '▁', prepend_scheme: 'always', split: true },
    ],
  },
  { type: 'Fuse' },
  {
    type: 'Sequence',
    decoders: [
      { type: 'Replace', pattern: { Regex: '▁+' }, content: ' ' },
      { type: 'ByteFallback' },
    ],
  },
  {
    type: 'Sequence',
    decoders: [{ type: 'Metaspace', replacement: '▁', prepend_scheme: 'first', split: false }],
  },
];

describe.each(odd)('any other decoder: %j', (decoder) => {
  const [json] = testTokenizers.filter(({ name }) => name === 'gemma').map((entry) => entry.json);
  const tokenizer = new Tokenizer(JSON.stringify({ ...JSON.parse(json ?? '{}'), decoder }));

  test('pieces join to the decoded text', async () => {
    await fc.assert(
      fc.asyncProperty(anyIds(tokenizer), async (ids) => {
        expect(pieces(tokenizer, ids, false).join('')).toBe(await tokenizer.decode(ids, false));
      }),
    );
  });

  test('pieces of a long text join to it, and come soon', async () => {
    let seed = 1;
    const ids = Array.from({ length: 2_000 }, () => {
      seed = (seed * 48_271) % 0x7fff_ffff;
      return seed % tokenizer.vocabularySize;
    });
    const shown = pieces(tokenizer, ids, false);
    expect(shown.join('')).toBe(await tokenizer.decode(ids, false));
    expect(shown.filter((piece) => piece !== '').length).toBeGreaterThan(ids.length / 4);
  });
});
