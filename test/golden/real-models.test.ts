import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { starterHome, starterModel } from '../support/starter-model.ts';
import { DebugSession } from './debug-session.ts';

const answersSchema = z.object({
  cases: z.array(z.object({ text: z.string(), ids: z.array(z.int()), tokens: z.array(z.int()) })),
});
const idsReply = z.looseObject({ ids: z.array(z.int()) });
const batchReply = z.looseObject({ batch: z.array(z.array(z.int())) });
// The larger models take minutes where MLX runs on two processors.
const timeout = 300_000;

function readAnswers(name: string) {
  const text = readFileSync(join(import.meta.dirname, `${name}.json`), 'utf8');
  return answersSchema.parse(JSON.parse(text)).cases;
}

/** Both are fetched by name; Gemma's 250 MB only where they are asked for. */
const withGemma = process.env['CIDERY_TEST_GEMMA3'] === '1';
if (!withGemma) {
  process.stderr.write('skipped: Gemma 3 270M; CIDERY_TEST_GEMMA3=1 fetches 250 MB and tests it\n');
}
const suites = [
  { name: 'starter', model: starterModel },
  ...(withGemma ? [{ name: 'gemma3', model: 'gemma3:270m' }] : []),
];

describe.each(suites)('$name answers as mlx-lm does in f32', ({ name, model }) => {
  const answers = readAnswers(name);
  let session: DebugSession;
  beforeAll(async () => {
    session = new DebugSession(['--precise'], { CIDERY_HOME: await starterHome(model) });
  }, timeout);
  afterAll(async () => session.close());

  it.each(answers)('$text: ids', async ({ text, ids }) => {
    const tokenize = { op: 'tokenize', tokenizer: model, text, special: name === 'gemma3' };
    expect((await session.request(idsReply, tokenize)).ids).toEqual(ids);
  });

  it(
    'one prompt alone: tokens',
    async () => {
      const [{ ids, tokens } = { ids: [], tokens: [] }] = answers;
      const request = { op: 'generate', model, ids, maxTokens: tokens.length, ignoreEos: true };
      expect((await session.request(idsReply, request)).ids).toEqual(tokens);
    },
    timeout,
  );

  it(
    'all prompts at once: tokens',
    async () => {
      const batch = answers.map(({ ids }) => ids);
      const maxTokens = Math.max(...answers.map(({ tokens }) => tokens.length));
      const request = { op: 'generate', model, batch, maxTokens, ignoreEos: true };
      const reply = await session.request(batchReply, request);
      const got = reply.batch.map((ids, row) => ids.slice(0, answers[row]?.tokens.length));
      expect(got).toEqual(answers.map(({ tokens }) => tokens));
    },
    timeout,
  );
});
