/** A message of a chat, as the command line knows it. */
export interface Message {
  readonly role: 'system' | 'user' | 'assistant';
  readonly content: string;
}

/** What is answered: a chat so far, or a text to go on with. */
export type Question =
  | { readonly kind: 'chat'; readonly messages: readonly Message[] }
  | { readonly kind: 'text'; readonly text: string };

export interface AnswerOptions {
  /** Null: as far as the context goes. */
  readonly maxTokens: number | null;
  readonly temperature: number;
  readonly topP: number;
  /** Decimal digits of an unsigned 64-bit number; null: a new one for every answer. */
  readonly seed: string | null;
}

export interface Answer {
  readonly text: string;
  readonly finishReason: string;
  readonly promptTokens: number;
  readonly generatedTokens: number;
  /** To the first token. */
  readonly promptMs: number;
  /** From the first token to the last. */
  readonly generateMs: number;
}

/** Answers questions with one model, over HTTP or in this process. */
export interface Answerer {
  /** Calls back with each piece of text; rejects with a coded error or the signal's reason. */
  answer(
    question: Question,
    options: AnswerOptions,
    onText: (text: string) => void,
    signal: AbortSignal,
  ): Promise<Answer>;
  /** Frees what was made for this call. */
  close(): Promise<void>;
}

/** `36 prompt tokens at 410 tok/s, 48 tokens at 61.2 tok/s`. */
export function speedLine(answer: Answer): string {
  const { promptTokens, promptMs, generatedTokens, generateMs } = answer;
  const rate = (tokens: number, ms: number) =>
    ms > 0 && tokens > 0 ? ` at ${((tokens / ms) * 1_000).toFixed(1)} tok/s` : '';
  const prompt = `${promptTokens} prompt tokens${rate(promptTokens, promptMs)}`;
  return `${prompt}, ${generatedTokens} tokens${rate(generatedTokens - 1, generateMs)}`;
}
