import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { testTokenizers } from '../../test/support/tokenizers.ts';
import { limits } from '../base/limits.ts';
import { openRequestText, readTokenizer } from './request-text.ts';
import { runTextOperation } from './text-operations.ts';

const { signal } = new AbortController();
const [golden] = testTokenizers.filter(({ name }) => name === 'sentencePiece');
if (golden === undefined) throw new Error('no sentencePiece tokenizer for tests');
const { json, encodes, decodes } = golden;
let folder: string;
let path: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'cidery-text-'));
  path = join(folder, 'tokenizer.json');
  writeFileSync(path, json);
});
afterAll(() => rmSync(folder, { recursive: true }));

const modelText = (tokenizerPath: string | null) => ({
  tokenizerPath,
  chatTemplate: null,
  specialTokens: {},
  eosIds: [2],
});

test('a tokenizer that is missing, huge or broken is refused with its reason', async () => {
  const huge = join(folder, 'huge.json');
  writeFileSync(huge, '');
  truncateSync(huge, limits.tokenizerMaxBytes + 1);
  const broken = join(folder, 'broken.json');
  writeFileSync(broken, '{"model":');
  await expect(readTokenizer(join(folder, 'none.json'))).rejects.toMatchObject({
    code: 'tokenizer_missing',
  });
  await expect(readTokenizer(huge)).rejects.toMatchObject({ code: 'tokenizer_invalid' });
  await expect(openRequestText(modelText(broken))).rejects.toMatchObject({
    code: 'tokenizer_invalid',
  });
});

test('a text becomes ids with what belongs around it, ids stay as they are', async () => {
  const text = await openRequestText(modelText(path));
  const hello = encodes.find((encode) => encode.text === 'Hello world' && encode.special);
  expect(
    await text.promptIds({ kind: 'text', text: 'Hello world', special: true }, signal),
  ).toEqual(hello?.ids);
  expect(await text.promptIds({ kind: 'ids', ids: [7, 8] }, signal)).toEqual([7, 8]);
  await expect(
    text.promptIds({ kind: 'chat', messages: [], tools: null, variables: {} }, signal),
  ).rejects.toMatchObject({ code: 'template_missing' });
  expect(text.eosIds).toEqual(new Set([2]));
});

test('a model without a tokenizer takes ids alone and gives no text', async () => {
  const text = await openRequestText(modelText(null));
  expect(await text.promptIds({ kind: 'ids', ids: [7] }, signal)).toEqual([7]);
  await expect(
    text.promptIds({ kind: 'text', text: 'hi', special: true }, signal),
  ).rejects.toMatchObject({ code: 'tokenizer_missing' });
  const detokenizer = text.detokenizer(true);
  const matcher = text.stopMatcher(['a']);
  expect([detokenizer.push(7), detokenizer.finish(), text.tokenText(7), matcher.push('')]).toEqual([
    '',
    '',
    '',
    { text: '', stop: null },
  ]);
});

test("debug's tokenize and detokenize agree with Python's package", async () => {
  for (const { text, special, ids } of encodes) {
    expect(await runTextOperation({ op: 'tokenize', tokenizer: path, text, special })).toEqual({
      ids,
    });
  }
  for (const { ids, skipSpecial, text } of decodes) {
    const reply = await runTextOperation({ op: 'detokenize', tokenizer: path, ids, skipSpecial });
    const detokenizer = (await openRequestText(modelText(path))).detokenizer(skipSpecial);
    const pieces = [...ids.map((id) => detokenizer.push(id)), detokenizer.finish()];
    expect(reply).toEqual({ text, pieces: pieces.filter((piece) => piece !== '') });
  }
});
