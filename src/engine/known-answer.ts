import { createHash } from 'node:crypto';
import { promptLogits } from './prompt-logits.ts';
import type { StepLoop } from './step-loop.ts';
import { greedySampler } from './step-plan.ts';

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
  const rows = await promptLogits(loop, key, prompt, prompt.length);
  const logits = createHash('sha256').update(bytesOf(rows)).digest('hex');
  return { logits, ids: await idsOf(loop, key, prompt, tokens) };
}

function bytesOf({ buffer, byteOffset, byteLength }: Float32Array): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}

function idsOf(
  loop: StepLoop,
  key: string,
  prompt: readonly number[],
  maxTokens: number,
): Promise<number[]> {
  const ids: number[] = [];
  const work = {
    kind: 'generate',
    sampler: { ...greedySampler, promptLength: prompt.length },
  } as const;
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
