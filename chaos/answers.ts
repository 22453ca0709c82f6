import { z } from 'zod';
import { readEvents } from '../src/api/read-events.ts';
import { CideryError } from '../src/base/error.ts';
import { chaosLimits } from './limits.ts';

/** A body of `/v1/chat/completions`, but for `model` and `stream`. */
export interface Question {
  readonly messages: readonly { readonly role: string; readonly content: string }[];
  readonly max_tokens: number;
  readonly temperature: number;
  readonly seed: number;
  readonly n: number;
}

/** All that a client can tell of an answer: texts, ends and counts of every choice. */
export interface Answer {
  readonly texts: readonly string[];
  readonly finishes: readonly (string | null)[];
  readonly promptTokens: number;
  readonly generatedTokens: number;
}

const errorSchema = z.looseObject({ error: z.looseObject({ message: z.string() }) });
const chunkSchema = z.looseObject({
  choices: z.array(
    z.looseObject({
      index: z.int(),
      delta: z.looseObject({ content: z.string().nullish() }),
      finish_reason: z.string().nullable(),
    }),
  ),
  usage: z.looseObject({ prompt_tokens: z.int(), completion_tokens: z.int() }).nullish(),
});

/** Greedy and sampled ones, short and long, with one choice and with two. */
export const questions: readonly Question[] = [
  ask('Name the planets of the solar system, and say a little about each.', 160, 0),
  ask('Write a long story about a lighthouse keeper and her dog.', 220, 0.8),
  ask('How do I bake bread? Give every step.', 140, 0),
  ask('Explain to a child why the sky is blue.', 90, 1),
  ask('List ten animals, and a fact about each.', 180, 0.7, 2),
  ask('What is a linked list, and when is an array better?', 120, 0),
];

function ask(content: string, maxTokens: number, temperature: number, choices = 1): Question {
  const messages = [{ role: 'user', content }];
  return { messages, max_tokens: maxTokens, temperature, seed: 7, n: choices };
}

/**
 * Streams one answer. `onText` hears of every event that brought text.
 * @throws CideryError `chaos_answer` for an error of any kind, or an answer that takes too long.
 */
export async function streamAnswer(
  url: string,
  model: string,
  question: Question,
  onText: () => void,
): Promise<Answer> {
  const response = await fetch(`${url}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({
      model,
      ...question,
      stream: true,
      stream_options: { include_usage: true },
    }),
    signal: AbortSignal.timeout(chaosLimits.answerMs),
  });
  if (!response.ok || response.body === null) {
    throw new CideryError('chaos_answer', `HTTP ${response.status}: ${await response.text()}`);
  }
  const texts = Array.from({ length: question.n }, () => '');
  const finishes = Array.from({ length: question.n }, (): string | null => null);
  let usage = { prompt_tokens: 0, completion_tokens: 0 };
  for await (const data of readEvents(response.body)) {
    if (data === '[DONE]') {
      const { prompt_tokens: promptTokens, completion_tokens: generatedTokens } = usage;
      return { texts, finishes, promptTokens, generatedTokens };
    }
    const value: unknown = JSON.parse(data);
    const failed = errorSchema.safeParse(value);
    if (failed.success) throw new CideryError('chaos_answer', failed.data.error.message);
    const chunk = chunkSchema.parse(value);
    for (const { index, delta, finish_reason: finish } of chunk.choices) {
      if (typeof delta.content === 'string' && delta.content !== '') onText();
      texts[index] = (texts[index] ?? '') + (delta.content ?? '');
      if (finish !== null) finishes[index] = finish;
    }
    usage = chunk.usage ?? usage;
  }
  throw new CideryError('chaos_answer', 'the answer ended without its last event');
}
