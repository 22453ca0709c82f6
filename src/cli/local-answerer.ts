import { stateEvents } from '../api/cluster/state-events.ts';
import { CideryError } from '../base/error.ts';
import type { ModelId } from '../base/ids.ts';
import { limits } from '../base/limits.ts';
import type { FinishReason, GenerateOptions, PromptInput } from '../engine/protocol.ts';
import type { Instance } from '../node/instance.ts';
import type { CideryNode } from '../node/node.ts';
import { realClock } from '../platform/real-clock.ts';
import type { Answer, Answerer, AnswerOptions, Question } from './answerer.ts';
import type { CommandContext } from './context.ts';
import { waitUntilReady } from './wait-until-ready.ts';

/** An answer of this process's own engine, with its tokens. */
export interface LocalAnswer extends Answer {
  readonly promptIds: readonly number[];
  readonly ids: readonly number[];
}

export interface LocalAnswerer extends Answerer {
  answer(
    question: Question,
    options: AnswerOptions,
    onText: (text: string) => void,
    signal: AbortSignal,
  ): Promise<LocalAnswer>;
  readonly instance: Instance;
  /** Most memory that the engine has held so far, in bytes. */
  peakBytes(): Promise<number>;
}

/** Answers with an engine of this process's own node, which ends with the answerer. */
export async function localAnswerer(
  context: CommandContext,
  node: CideryNode,
  model: ModelId,
): Promise<LocalAnswerer> {
  node.expectModel();
  const deployment = await node.deployments.create({ model });
  const { signal } = context;
  await waitUntilReady(context, stateEvents(node, realClock, signal), deployment.id);
  const instance = await node.ready(deployment.id, signal);
  return {
    instance,
    answer: (question, options, onText, stop) =>
      answerHere(node, deployment.id, question, options, onText, stop),
    peakBytes: () => peakBytes(instance),
    close: () => node.close(),
  };
}

async function answerHere(
  node: CideryNode,
  model: string,
  question: Question,
  options: AnswerOptions,
  onText: (text: string) => void,
  signal: AbortSignal,
): Promise<LocalAnswer> {
  const generation = await node.generate(
    { model, input: inputOf(question), options: generateOptions(options, () => node.newSeed()) },
    signal,
  );
  const ids: number[] = [];
  let text = '';
  let finishReason: FinishReason = 'stop';
  for await (const event of generation.events) {
    if (event.type === 'finished') finishReason = event.reason;
    else if (event.type === 'delta') {
      ids.push(...event.ids);
      text += event.text;
      if (event.text !== '') onText(event.text);
    } else {
      const { usage, timings } = event;
      return {
        text,
        finishReason,
        promptIds: generation.promptIds,
        ids,
        promptTokens: usage.promptTokens,
        generatedTokens: usage.generatedTokens,
        promptMs: timings.promptMs,
        generateMs: timings.generateMs,
      };
    }
  }
  throw new CideryError('internal', 'bug in cidery: a generation ended without its end');
}

function inputOf(question: Question): PromptInput {
  if (question.kind === 'text') return { kind: 'text', text: question.text, special: true };
  const messages = question.messages.map(({ role, content }) => ({ role, content }));
  return { kind: 'chat', messages, tools: null, variables: {} };
}

function generateOptions(options: AnswerOptions, newSeed: () => string): GenerateOptions {
  const { maxTokens, temperature, topP, seed } = options;
  return {
    maxTokens,
    ignoreEos: false,
    stop: [],
    choices: 1,
    logprobs: null,
    skipSpecial: true,
    sampling: { ...plainSampling, temperature, topP, seed: seed ?? newSeed() },
  };
}

/** Greedy, without penalties or biases. */
export const plainSampling: GenerateOptions['sampling'] = {
  temperature: 0,
  topP: 1,
  topK: 0,
  minP: 0,
  repetitionPenalty: 1,
  presencePenalty: 0,
  frequencyPenalty: 0,
  seed: '0',
  logitBias: [],
};

/** Ranks report their memory with every ping; the next reports know of all that has been. */
async function peakBytes(instance: Instance): Promise<number> {
  const before = instance.report;
  const until = performance.now() + 3 * limits.rankPingMs;
  while (instance.report === before && performance.now() < until) {
    await realClock.sleep(limits.rankPingMs / 10);
  }
  return instance.members.reduce((sum, { report, opened }) => {
    return sum + Math.max(report?.memory.peakBytes ?? 0, opened?.memory.peakBytes ?? 0);
  }, 0);
}
