import type { StepLoop } from './step-loop.ts';

/**
 * The logits of the last `rows` of a prompt's tokens, [rows, vocabulary], computed in a sequence of
 * its own. Rejects with what the steps say of it.
 */
export function promptLogits(
  loop: StepLoop,
  key: string,
  tokens: readonly number[],
  rows: number,
): Promise<Float32Array> {
  const work = { kind: 'logits', rows } as const;
  const sequence = { key: `${key}/logits`, tokens, maxTokens: 1, stopIds: new Set<number>(), work };
  return new Promise((resolve, reject) => {
    loop.add(sequence, (event) => {
      if (event.kind === 'failed') reject(event.error);
      if (event.kind === 'logits') resolve(event.logits);
    });
  });
}
