import type { FinishReason, PromptInput, TokenLogprobs } from '../../engine/protocol.ts';
import { limits } from '../../base/limits.ts';
import type { Generation, GenerationEvent } from '../../node/generation.ts';
import type { CideryNode } from '../../node/node.ts';
import { jsonEvent } from '../event-stream.ts';
import { FieldError } from '../http-error.ts';
import { errorBody } from './errors.ts';
import { generateOptions } from './options.ts';
import type { CompletionRequest } from './schemas.ts';
import type { answerHead } from './chat.ts';
import { type Done, type Totals, totalsOf } from './totals.ts';

/** OpenAI's default for text completions. */
const defaultMaxTokens = 16;

/** Starts one generation a prompt; all of them are cancelled by the signal. */
export async function startCompletions(
  node: CideryNode,
  body: CompletionRequest,
  signal: AbortSignal,
): Promise<Generation[]> {
  refuseUnsupported(body);
  const options = generateOptions(
    body,
    { maxTokens: body.max_tokens ?? defaultMaxTokens, logprobs: body.logprobs ?? null },
    () => node.newSeed(),
  );
  const inputs = promptInputs(body.prompt);
  return Promise.all(
    inputs.map((input) => node.generate({ model: body.model, input, options }, signal)),
  );
}

function refuseUnsupported(body: CompletionRequest): void {
  if (body.suffix) {
    throw new FieldError('unsupported_value', "'suffix' is not supported.", 'suffix');
  }
  if (body.echo === true) {
    throw new FieldError('unsupported_value', "'echo' is not supported.", 'echo');
  }
  if ((body.best_of ?? 1) > (body.n ?? 1)) {
    throw new FieldError(
      'unsupported_value',
      "'best_of' larger than 'n' is not supported.",
      'best_of',
    );
  }
}

function promptInputs(prompt: CompletionRequest['prompt']): PromptInput[] {
  if (typeof prompt === 'string') return [{ kind: 'text', text: prompt, special: true }];
  const inputs: PromptInput[] = [];
  const ids: number[] = [];
  for (const item of prompt) {
    if (typeof item === 'number') ids.push(item);
    else if (typeof item === 'string') inputs.push({ kind: 'text', text: item, special: true });
    else inputs.push({ kind: 'ids', ids: item });
  }
  if (ids.length > 0) inputs.push({ kind: 'ids', ids });
  if (inputs.length > limits.promptsPerRequestMax) {
    throw new FieldError(
      'array_above_max_length',
      `'prompt' has ${inputs.length} prompts; at most ${limits.promptsPerRequestMax} are taken.`,
      'prompt',
    );
  }
  return inputs;
}

/** Events of several generations as they come, with OpenAI's numbering of their choices. */
async function* merged(
  generations: readonly Generation[],
  choices: number,
): AsyncGenerator<{ index: number; event: GenerationEvent }, void, void> {
  const iterators = generations.map(({ events }) => events[Symbol.asyncIterator]());
  const next = async (prompt: number, iterator: AsyncIterator<GenerationEvent>) => ({
    prompt,
    iterator,
    result: await iterator.next(),
  });
  const pending = new Map(iterators.map((iterator, prompt) => [prompt, next(prompt, iterator)]));
  try {
    while (pending.size > 0) {
      const { prompt, iterator, result } = await Promise.race(pending.values());
      if (result.done === true) {
        pending.delete(prompt);
        continue;
      }
      pending.set(prompt, next(prompt, iterator));
      const event = result.value;
      yield { index: prompt * choices + (event.type === 'done' ? 0 : event.choice), event };
    }
  } finally {
    // One that failed ends the request: the others are no longer wanted.
    for (const waiting of pending.values()) waiting.catch(() => {});
    await Promise.all(iterators.map(async (iterator) => iterator.return?.()));
  }
}

type Head = ReturnType<typeof answerHead>;

interface Choice {
  text: string;
  finish: FinishReason | null;
  readonly logprobs: TokenLogprobs[];
}

/** All answers as one object. */
export async function textCompletion(
  head: Head,
  body: CompletionRequest,
  generations: readonly Generation[],
): Promise<object> {
  const n = body.n ?? 1;
  const choices = Array.from({ length: n * generations.length }, (): Choice => {
    return { text: '', finish: null, logprobs: [] };
  });
  const ends: Done[] = [];
  for await (const { index, event } of merged(generations, n)) {
    const choice = choices[index];
    if (event.type === 'done') ends.push(event);
    else if (choice !== undefined && event.type === 'finished') choice.finish = event.reason;
    else if (choice !== undefined && event.type === 'delta') {
      choice.text += event.text;
      choice.logprobs.push(...event.logprobs);
    }
  }
  return {
    id: head.id,
    object: 'text_completion',
    created: head.created,
    model: head.model,
    choices: choices.map(({ text, finish, logprobs }, index) => ({
      index,
      text,
      logprobs: typeof body.logprobs === 'number' ? logprobLists(logprobs, 0) : null,
      finish_reason: finish,
    })),
    ...totalsOf(ends),
  };
}

/** The answers as they come. */
export async function* completionEvents(
  head: Head,
  body: CompletionRequest,
  generations: readonly Generation[],
): AsyncGenerator<string, void, void> {
  const withUsage = body.stream_options?.include_usage === true;
  const ends: Done[] = [];
  const offsets = new Map<number, number>();
  const chunk = (choices: object[], totals: Totals | null = null) =>
    jsonEvent({
      id: head.id,
      object: 'text_completion',
      created: head.created,
      model: head.model,
      choices,
      ...(withUsage ? (totals ?? { usage: null }) : {}),
    });
  try {
    for await (const { index, event } of merged(generations, body.n ?? 1)) {
      if (event.type === 'done') ends.push(event);
      else if (event.type === 'finished') {
        yield chunk([{ index, text: '', logprobs: null, finish_reason: event.reason }]);
      } else if (event.text !== '' || event.logprobs.length > 0) {
        const offset = offsets.get(index) ?? 0;
        offsets.set(index, offset + event.text.length);
        const logprobs = event.logprobs.length === 0 ? null : logprobLists(event.logprobs, offset);
        yield chunk([{ index, text: event.text, logprobs, finish_reason: null }]);
      }
    }
    if (withUsage) yield chunk([], totalsOf(ends));
    yield 'data: [DONE]\n\n';
  } catch (error) {
    yield jsonEvent(errorBody(error));
  }
}

/** The lists that text completions hold logprobs in; offsets count the characters of the answer. */
function logprobLists(entries: readonly TokenLogprobs[], start: number): object {
  let offset = start;
  return {
    tokens: entries.map(({ text }) => text),
    token_logprobs: entries.map(({ logprob }) => logprob),
    top_logprobs: entries.map(({ alternatives }) =>
      Object.fromEntries(alternatives.map(({ text, logprob }) => [text, logprob])),
    ),
    text_offset: entries.map(({ text }) => {
      const at = offset;
      offset += text.length;
      return at;
    }),
  };
}
