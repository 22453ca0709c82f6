import type { ApiClient, CompletionFields } from '../api/client.ts';
import { limits } from '../base/limits.ts';
import type { ModelId } from '../base/ids.ts';
import type { Answer, Answerer, AnswerOptions, Question } from './answerer.ts';
import type { InstanceView, NewDeployment } from '../node/cluster-state.ts';
import type { CommandContext, SplitFlags } from './context.ts';
import { waitUntilReady } from './wait-until-ready.ts';

/** What an instance has to be like; what is not named may be anything. */
export interface WantedInstance extends SplitFlags {
  readonly precise?: boolean;
}

/**
 * Answers through the node that runs on this machine: with an instance of the model that is as
 * wanted if there is one, else with one that is made for this call and removed after it.
 */
export async function remoteAnswerer(
  context: CommandContext,
  client: ApiClient,
  model: ModelId,
  wanted: WantedInstance,
): Promise<Answerer> {
  const { signal } = context;
  const { instances } = await client.state(signal);
  const fitting = instances.filter(
    (instance) => instance.model === model && matches(instance.plan, wanted),
  );
  const found =
    fitting.find(({ state }) => state === 'ready') ??
    fitting.find(({ state }) => state === 'starting');
  if (found !== undefined && fitting.length > 1) {
    context.output.note(
      `of ${fitting.length} that run ${model}, ${found.deployment} answers ` +
        '(--precise, --ranks and --split choose another)',
    );
  }
  const own =
    found === undefined ? await client.deploy({ model, ...deploymentOf(wanted) }, signal) : null;
  const deployment = found?.deployment ?? own?.id ?? '';
  const close = async (): Promise<void> => {
    // The call's own signal may be what ends it; the instance has to go all the same.
    const timeout = AbortSignal.timeout(limits.healthTimeoutMs);
    if (own !== null) await client.removeDeployment(own.id, timeout);
  };
  try {
    await waitUntilReady(context, client.states(signal), deployment);
  } catch (error) {
    await close();
    throw error;
  }
  return {
    answer: (question, options, onText, stop) =>
      answerOver(client, fieldsOf(deployment, question, options), onText, stop),
    close,
  };
}

function matches(plan: InstanceView['plan'], wanted: WantedInstance): boolean {
  const { precise, ranks, split } = wanted;
  if (precise === true && plan.mode !== 'precise') return false;
  if (ranks === undefined) return true;
  const sameKind = ranks === 1 || split === undefined || split === 'auto' || plan.kind === split;
  return plan.ranks === ranks && sameKind;
}

function deploymentOf({ precise, ranks, split }: WantedInstance): Omit<NewDeployment, 'model'> {
  return {
    ...(precise === true ? { mode: 'precise' as const } : {}),
    ...(ranks === undefined ? {} : { ranks }),
    ...(split === undefined ? {} : { split }),
  };
}

/** True for a seed that JSON's numbers carry exactly. */
export function isPortableSeed(seed: string): boolean {
  return Number.isSafeInteger(Number(signedSeed(seed)));
}

/** The API takes the bit pattern as a negative number, too. */
function signedSeed(seed: string): bigint {
  return BigInt.asIntN(64, BigInt(seed));
}

function fieldsOf(model: string, question: Question, options: AnswerOptions): CompletionFields {
  const { maxTokens, temperature, topP, seed } = options;
  const prompt =
    question.kind === 'chat' ? { messages: question.messages } : { prompt: question.text };
  // Text completions end after 16 tokens unless they are told otherwise.
  const most = maxTokens ?? (question.kind === 'chat' ? null : limits.modelMaxContext);
  return {
    model,
    ...prompt,
    temperature,
    top_p: topP,
    ...(most === null ? {} : { max_tokens: most }),
    ...(seed === null ? {} : { seed: Number(signedSeed(seed)) }),
  };
}

async function answerOver(
  client: ApiClient,
  fields: CompletionFields,
  onText: (text: string) => void,
  signal: AbortSignal,
): Promise<Answer> {
  const startedAt = performance.now();
  let firstAt: number | null = null;
  let lastAt = startedAt;
  let text = '';
  let finishReason = 'stop';
  let usage = { promptTokens: 0, generatedTokens: 0 };
  for await (const chunk of client.complete(fields, signal)) {
    if (chunk.text !== '') {
      lastAt = performance.now();
      firstAt ??= lastAt;
      text += chunk.text;
      onText(chunk.text);
    }
    finishReason = chunk.finishReason ?? finishReason;
    usage = chunk.usage ?? usage;
  }
  const promptMs = (firstAt ?? lastAt) - startedAt;
  return { text, finishReason, ...usage, promptMs, generateMs: lastAt - startedAt - promptMs };
}
