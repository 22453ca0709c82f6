import { createHash } from 'node:crypto';
import type { Sampler } from './step-plan.ts';
import type { StepLoop } from './step-loop.ts';

/** Greedy ids behind a prompt, and the SHA-256 of all logits of the prompt (f32, row by row). */
export interface KnownAnswer {
  readonly ids: number[];
  readonly logits: string;
}

/** Computes in two sequences of their own; rejects with what the steps say of them. */
export async function knownAnswer(
  loop: StepLoop,
  key: string,
  prompt: readonly number[],
  tokens: number,
): Promise<KnownAnswer> {
  return { logits: await logitsOf(loop, key, prompt), ids: await idsOf(loop, key, prompt, tokens) };
}

function logitsOf(loop: StepLoop, key: string, tokens: readonly number[]): Promise<string> {
  const work = { kind: 'logits', rows: tokens.length } as const;
  return new Promise((resolve, reject) => {
    loop.add({ key: `${key}/logits`, tokens, maxTokens: 1, stopIds: noIds, work }, (event) => {
      if (event.kind === 'failed') reject(event.error);
      if (event.kind !== 'logits') return;
      const { buffer, byteOffset, byteLength } = event.logits;
      const bytes = new Uint8Array(buffer, byteOffset, byteLength);
      resolve(createHash('sha256').update(bytes).digest('hex'));
    });
  });
}

function idsOf(
  loop: StepLoop,
  key: string,
  prompt: readonly number[],
  maxTokens: number,
): Promise<number[]> {
  const ids: number[] = [];
  const work = { kind: 'generate', sampler: { ...greedy, promptLength: prompt.length } } as const;
  return new Promise((resolve, reject) => {
    loop.add({ key: `${key}/ids`, tokens: prompt, maxTokens, stopIds: noIds, work }, (event) => {
      if (event.kind === 'failed') reject(event.error);
      if (event.kind !== 'token') return;
      ids.push(event.token);
      if (event.finish !== null) resolve(ids);
    });
  });
}

const noIds: ReadonlySet<number> = new Set();

const greedy: Omit<Sampler, 'promptLength'> = {
  temperature: 0,
  topP: 1,
  minP: 0,
  topK: 0,
  repetition: 1,
  presence: 0,
  frequency: 0,
  seed: 0n,
  choice: 0,
  logprobs: null,
  biases: [],
  mask: null,
};
