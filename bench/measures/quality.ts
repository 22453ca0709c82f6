import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import type { EngineProcess } from '../peers/engine-process.ts';
import type { Subject } from '../peers/subject.ts';
import { ownName } from '../recorder.ts';
import { readLogits, scoreRow } from './logits-file.ts';
import { attempt, enginePeers, type Bench, type Measure, withEngine } from './measure.ts';

/** Tokens of a window; each but the first is predicted from those before it. */
const windowTokens = 257;
const defaultWindows = 16;
const answers = 4;
const answerPromptTokens = 48;
const answerTokens = 32;
const replySchema = z.looseObject({ rows: z.int(), vocabulary: z.int() });

/** What `fast` loses against `precise` over real text; the same tokens as mlx-lm. */
export const quality: Measure = {
  name: 'quality',
  about: 'perplexity and top token of `fast` against `precise` over 4096 positions of real text',
  rounds: 1,
  peers: enginePeers,
  async round(bench, round) {
    await attempt(bench, ownName, 'real text', () => compareModes(bench, round));
    const mlx = bench.subjects.find(({ name }) => name === 'mlx-lm');
    if (mlx === undefined) return;
    await attempt(bench, ownName, 'greedy answers', () => compareAnswers(bench, mlx, round));
  },
};

interface Scores {
  positions: number;
  agreeing: number;
  fastLoss: number;
  preciseLoss: number;
}

async function compareModes(bench: Bench, round: number): Promise<void> {
  const { cidery, prompts, recorder, threads } = bench;
  const windows = bench.cases?.[0] ?? defaultWindows;
  const folder = await cidery.newFolder();
  const needs = { threads, sequences: 1, contextLength: windowTokens };
  const fast = cidery.open({ ...needs, precise: false });
  const precise = cidery.open({ ...needs, precise: true });
  const scores: Scores = { positions: 0, agreeing: 0, fastLoss: 0, preciseLoss: 0 };
  try {
    for (let window = 0; window < windows; window += 1) {
      const ids = prompts.next(windowTokens);
      addScores(scores, ids, {
        fast: await logitsOf(bench, fast, ids, join(folder, 'fast')),
        precise: await logitsOf(bench, precise, ids, join(folder, 'precise')),
      });
      bench.note(`window ${window + 1} of ${windows}`);
    }
  } finally {
    await Promise.all([fast.close(), precise.close()]);
    await rm(folder, { recursive: true, force: true });
  }
  const { positions, agreeing, fastLoss, preciseLoss } = scores;
  const record = (
    name: string,
    metric: Parameters<typeof recorder.record>[0]['metric'],
    v: number,
  ) => recorder.record({ subject: ownName, case: name, metric }, round, v);
  const [fastPerplexity, precisePerplexity] = [fastLoss, preciseLoss].map((loss) =>
    Math.exp(loss / positions),
  );
  if (fastPerplexity === undefined || precisePerplexity === undefined) return;
  record('fast', 'perplexity', fastPerplexity);
  record('precise', 'perplexity', precisePerplexity);
  const over = 100 * (fastPerplexity / precisePerplexity - 1);
  record(`fast, ${positions} positions`, 'perplexity over precise', over);
  record(`fast, ${positions} positions`, 'top token as precise', (100 * agreeing) / positions);
}

/** Rows of the logits that predict all tokens of a window but the first. */
async function logitsOf(
  bench: Bench,
  engine: EngineProcess,
  ids: readonly number[],
  out: string,
): Promise<Float32Array[]> {
  const inputs = ids.slice(0, -1);
  const request = { op: 'logits', ids: inputs, last: inputs.length, out };
  await engine.request(replySchema, request, bench.limitMs);
  return readLogits(out);
}

function addScores(
  scores: Scores,
  ids: readonly number[],
  rows: { readonly fast: Float32Array[]; readonly precise: Float32Array[] },
): void {
  for (const [position, fastRow] of rows.fast.entries()) {
    const preciseRow = rows.precise[position];
    const target = ids[position + 1];
    if (preciseRow === undefined || target === undefined) continue;
    const [fast, precise] = [scoreRow(fastRow, target), scoreRow(preciseRow, target)];
    scores.positions += 1;
    scores.agreeing += fast.top === precise.top ? 1 : 0;
    scores.fastLoss += fast.loss;
    scores.preciseLoss += precise.loss;
  }
}

/** Tokens of greedy answers that are equal up to the first that is not. */
async function compareAnswers(bench: Bench, mlx: Subject, round: number): Promise<void> {
  const { cidery, recorder, threads, limitMs } = bench;
  const prompts = bench.prompts.many(answers, answerPromptTokens);
  const needs = { threads, precise: true, sequences: 1, contextLength: 256 };
  const answersOf = (subject: Subject) =>
    withEngine(bench, subject, needs, async (engine) => {
      const rows: (readonly number[])[] = [];
      for (const ids of prompts) {
        rows.push(...(await engine.generate([ids], answerTokens, limitMs)).rows);
      }
      return rows;
    });
  const [ours, theirs] = [await answersOf(cidery), await answersOf(mlx)];
  const equal = ours.reduce((sum, row, index) => sum + equalTokens(row, theirs[index] ?? []), 0);
  const key = { subject: ownName, case: 'precise, greedy', metric: 'tokens as mlx-lm' } as const;
  recorder.record(key, round, (100 * equal) / (answers * answerTokens));
}

function equalTokens(ours: readonly number[], theirs: readonly number[]): number {
  const different = ours.findIndex((token, index) => token !== theirs[index]);
  return different < 0 ? ours.length : different;
}
