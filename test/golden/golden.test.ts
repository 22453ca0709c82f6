import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { DebugSession } from './debug-session.ts';
import { readTensorFile, tensorOf, worstDeviation } from './tensor-file.ts';

// Two f32 implementations differ by 1e-5 of the deviation at most; a wrong model by far more.
const boundInDeviations = 1e-4;
const models = join(import.meta.dirname, 'models');
const names = readdirSync(models).sort();
const logitsReply = z.looseObject({ rows: z.int(), vocabulary: z.int() });
const idsReply = z.looseObject({ ids: z.array(z.int()) });
const batchReply = z.looseObject({ batch: z.array(z.array(z.int())) });

function readGolden(name: string) {
  const golden = readTensorFile(join(models, name, 'golden.safetensors'));
  return {
    model: join(models, name),
    ids: [...tensorOf(golden, 'ids').values],
    logits: tensorOf(golden, 'logits'),
    tokens: [...tensorOf(golden, 'tokens').values],
  };
}

describe.each(['cpu', 'mlx'])('the tiny models answer as mlx-lm does, on %s', (executor) => {
  let session: DebugSession;
  let scratch: string;
  beforeAll(() => {
    scratch = mkdtempSync(join(tmpdir(), 'cidery-golden-'));
    session = new DebugSession(['--precise', '--executor', executor]);
  });
  afterAll(async () => {
    await session.close();
    rmSync(scratch, { recursive: true });
  });

  it.each(names)('%s: logits', async (name) => {
    const { model, ids, logits } = readGolden(name);
    const [rows = 0, vocabulary] = logits.shape;
    const out = join(scratch, `${name}.safetensors`);
    const request = { op: 'logits', model, ids, last: rows, out };
    expect(await session.request(logitsReply, request)).toMatchObject({ rows, vocabulary });
    const actual = tensorOf(readTensorFile(out), 'logits');
    expect(worstDeviation(logits, actual)).toBeLessThan(boundInDeviations);
  });

  it.each(names)('%s: greedy tokens', async (name) => {
    const { model, ids, tokens } = readGolden(name);
    const request = { op: 'generate', model, ids, maxTokens: tokens.length, ignoreEos: true };
    expect((await session.request(idsReply, request)).ids).toEqual(tokens);
  });

  // One of each kind of cache: plain, windows beside whole layers, ropes that change as it grows.
  it.each(['llama', 'gemma3', 'cohere2', 'ministral3', 'llama-dynamic'])(
    '%s: greedy tokens beside other sequences',
    async (name) => {
      const { model, ids, tokens } = readGolden(name);
      const batch = [ids.slice(0, 5), ids, ids.toReversed(), ids];
      const request = { op: 'generate', model, batch, maxTokens: tokens.length, ignoreEos: true };
      const reply = await session.request(batchReply, request);
      expect([reply.batch[1], reply.batch[3]]).toEqual([tokens, tokens]);
    },
  );
});

describe('the measure of agreement', () => {
  const { logits } = readGolden('llama');
  const changed = (index: number, value: number) => ({
    shape: logits.shape,
    values: Float32Array.from(logits.values).fill(value, index, index + 1),
  });

  it('is zero for equal logits, and sees one that is off or not a number', () => {
    const [first = 0] = logits.values;
    expect(worstDeviation(logits, logits)).toBe(0);
    expect(worstDeviation(logits, changed(0, first + 0.001))).toBeGreaterThan(boundInDeviations);
    expect(worstDeviation(logits, changed(0, Number.NaN))).toBe(Number.POSITIVE_INFINITY);
    const { values } = logits;
    const cut = { shape: [logits.shape[0] ?? 0, 1], values: values.slice(0, 1) };
    expect(worstDeviation(logits, cut)).toBe(Number.POSITIVE_INFINITY);
  });
});
