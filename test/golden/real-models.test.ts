import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { DebugSession } from './debug-session.ts';

const answersSchema = z.object({
  cases: z.array(z.object({ text: z.string(), ids: z.array(z.int()), tokens: z.array(z.int()) })),
});
const idsReply = z.looseObject({ ids: z.array(z.int()) });
// The larger models take minutes where MLX runs on two processors.
const timeout = 300_000;

function readAnswers(name: string) {
  const text = readFileSync(join(import.meta.dirname, `${name}.json`), 'utf8');
  return answersSchema.parse(JSON.parse(text)).cases;
}

/** The starter model is fetched by name; Gemma is tested where its file is at hand. */
const gemmaFile = process.env['CIDERY_TEST_GEMMA3'];
if (gemmaFile === undefined) {
  process.stderr.write('skipped: Gemma 3 270M; name its .gguf in CIDERY_TEST_GEMMA3 to test it\n');
}
const suites = [
  { name: 'starter', model: 'smollm2:135m' },
  ...(gemmaFile === undefined ? [] : [{ name: 'gemma3', model: gemmaFile }]),
];

describe.each(suites)('$name answers as mlx-lm does in f32', ({ name, model }) => {
  let session: DebugSession;
  beforeAll(() => {
    session = new DebugSession(['--precise']);
  });
  afterAll(async () => session.close());

  it.each(readAnswers(name))(
    '$text',
    async ({ text, ids, tokens }) => {
      const tokenize = { op: 'tokenize', tokenizer: model, text, special: name === 'gemma3' };
      expect((await session.request(idsReply, tokenize)).ids).toEqual(ids);
      const request = { op: 'generate', model, ids, maxTokens: tokens.length, ignoreEos: true };
      expect((await session.request(idsReply, request)).ids).toEqual(tokens);
    },
    timeout,
  );
});
