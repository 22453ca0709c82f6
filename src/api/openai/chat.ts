import type { FinishReason, TokenLogprobs } from '../../engine/protocol.ts';
import type { Generation } from '../../node/generation.ts';
import type { CideryNode } from '../../node/node.ts';
import { jsonEvent } from '../event-stream.ts';
import { FieldError } from '../http-error.ts';
import { chatInput } from './chat-input.ts';
import { errorBody } from './errors.ts';
import { generateOptions } from './options.ts';
import type { ChatRequest } from './schemas.ts';
import { type Totals, totalsOf } from './totals.ts';

/** What every object of one answer carries. */
interface AnswerHead {
  readonly id: string;
  readonly created: number;
  readonly model: string;
}

export function answerHead(prefix: string, node: CideryNode, model: string): AnswerHead {
  return { id: `${prefix}-${node.newId()}`, created: Math.floor(node.now() / 1_000), model };
}

/** Starts the answer to a chat request. */
export function startChat(
  node: CideryNode,
  body: ChatRequest,
  signal: AbortSignal,
): Promise<Generation> {
  if ((body.top_logprobs ?? 0) > 0 && body.logprobs !== true) {
    throw new FieldError(
      'invalid_value',
      "'top_logprobs' is only allowed when 'logprobs' is true.",
      'top_logprobs',
    );
  }
  const options = generateOptions(
    body,
    {
      maxTokens: body.max_completion_tokens ?? body.max_tokens ?? null,
      logprobs: body.logprobs === true ? (body.top_logprobs ?? 0) : null,
    },
    () => node.newSeed(),
  );
  return node.generate({ model: body.model, input: chatInput(body), options }, signal);
}

interface ChatChoice {
  content: string;
  finish: FinishReason | null;
  readonly logprobs: TokenLogprobs[];
}

/** The whole answer as one object. */
export async function chatCompletion(
  head: AnswerHead,
  body: ChatRequest,
  generation: Generation,
): Promise<object> {
  const choices = Array.from({ length: body.n ?? 1 }, (): ChatChoice => {
    return { content: '', finish: null, logprobs: [] };
  });
  let totals: Totals | null = null;
  for await (const event of generation.events) {
    if (event.type === 'done') totals = totalsOf([event]);
    else {
      const choice = choices[event.choice];
      if (choice === undefined) continue;
      if (event.type === 'finished') choice.finish = event.reason;
      else {
        choice.content += event.text;
        choice.logprobs.push(...event.logprobs);
      }
    }
  }
  return {
    id: head.id,
    object: 'chat.completion',
    created: head.created,
    model: head.model,
    choices: choices.map(({ content, finish, logprobs }, index) => ({
      index,
      message: { role: 'assistant', content, refusal: null },
      logprobs:
        body.logprobs === true ? { content: logprobs.map(logprobEntry), refusal: null } : null,
      finish_reason: finish,
    })),
    ...totals,
  };
}

/** The answer as it comes, one event a token, with OpenAI's closing mark. */
export async function* chatEvents(
  head: AnswerHead,
  body: ChatRequest,
  generation: Generation,
): AsyncGenerator<string, void, void> {
  const withUsage = body.stream_options?.include_usage === true;
  const chunk = (choices: object[], totals: Totals | null = null) =>
    jsonEvent({
      id: head.id,
      object: 'chat.completion.chunk',
      created: head.created,
      model: head.model,
      choices,
      ...(withUsage ? (totals ?? { usage: null }) : {}),
    });
  const choice = (
    index: number,
    delta: object,
    finish: FinishReason | null,
    logprobs: object | null,
  ) => chunk([{ index, delta, logprobs, finish_reason: finish }]);
  try {
    for (let index = 0; index < (body.n ?? 1); index++) {
      yield choice(index, { role: 'assistant', content: '', refusal: null }, null, null);
    }
    for await (const event of generation.events) {
      if (event.type === 'done') {
        if (withUsage) yield chunk([], totalsOf([event]));
      } else if (event.type === 'finished') {
        yield choice(event.choice, {}, event.reason, null);
      } else if (event.text !== '' || event.logprobs.length > 0) {
        const logprobs =
          event.logprobs.length === 0
            ? null
            : { content: event.logprobs.map(logprobEntry), refusal: null };
        yield choice(event.choice, { content: event.text }, null, logprobs);
      }
    }
    yield 'data: [DONE]\n\n';
  } catch (error) {
    yield jsonEvent(errorBody(error));
  }
}

function logprobEntry({ text, logprob, alternatives }: TokenLogprobs): object {
  return {
    ...tokenEntry(text, logprob),
    top_logprobs: alternatives.map((a) => tokenEntry(a.text, a.logprob)),
  };
}

/** Of a part of a character the text has no bytes: better none than wrong ones. */
function tokenEntry(token: string, logprob: number): object {
  const bytes = token.includes('\uFFFD') ? null : [...new TextEncoder().encode(token)];
  return { token, logprob, bytes };
}
