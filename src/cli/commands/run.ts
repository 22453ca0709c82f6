import { CideryError, invariant } from '../../base/error.ts';
import type { ModelId } from '../../base/ids.ts';
import { limits } from '../../base/limits.ts';
import type { CideryNode } from '../../node/node.ts';
import { openNode } from '../../node/open-node.ts';
import {
  type Answerer,
  type AnswerOptions,
  type Message,
  type Question,
  speedLine,
} from '../answerer.ts';
import { chat } from '../chat.ts';
import {
  type CommandContext,
  type EngineFlags,
  nodeSettings,
  type SplitFlags,
} from '../context.ts';
import { findNode } from '../find-node.ts';
import { localAnswerer } from '../local-answerer.ts';
import { requireModel } from '../local-models.ts';
import { isPortableSeed, remoteAnswerer } from '../remote-answerer.ts';

export interface RunFlags extends EngineFlags, SplitFlags {
  readonly maxTokens?: number;
  readonly temperature?: number;
  readonly topP?: number;
  readonly seed?: string;
  readonly system?: string;
  readonly raw?: boolean;
}

/** Low enough for sense from small models; the API's defaults are OpenAI's. */
const defaultTemperature = 0.2;
const defaultTopP = 0.9;

/** `cidery run M [PROMPT]` */
export async function run(
  context: CommandContext,
  reference: string,
  prompt: string | null,
  flags: RunFlags,
): Promise<void> {
  const text = prompt === '-' ? await readInput(context.signal) : prompt;
  const node = await openNode(nodeSettings(context, flags));
  try {
    const model = await requireModel(context, node.library, reference, 'all');
    if (context.output.json) {
      invariant(text !== null, 'no chat is asked for as JSON');
      await runAsJson(context, node, model.id, text, flags);
    } else await runAsText(context, node, model.id, text, flags);
  } finally {
    await node.close();
  }
}

function answerOptions(flags: RunFlags): AnswerOptions {
  return {
    maxTokens: flags.maxTokens ?? null,
    temperature: flags.temperature ?? defaultTemperature,
    topP: flags.topP ?? defaultTopP,
    seed: flags.seed ?? null,
  };
}

function questionOf(text: string, flags: RunFlags): Question {
  if (flags.raw === true) return { kind: 'text', text };
  return { kind: 'chat', messages: [...systemMessages(flags), { role: 'user', content: text }] };
}

function systemMessages({ system }: RunFlags): Message[] {
  return system === undefined ? [] : [{ role: 'system', content: system }];
}

async function runAsText(
  context: CommandContext,
  node: CideryNode,
  model: ModelId,
  text: string | null,
  flags: RunFlags,
): Promise<void> {
  const answerer = await chooseAnswerer(context, node, model, flags);
  try {
    const options = answerOptions(flags);
    if (text === null) {
      await chat(context, answerer, options, systemMessages(flags), process.stdin);
    } else {
      const answer = await answerer.answer(
        questionOf(text, flags),
        options,
        (piece) => context.output.text(piece),
        context.signal,
      );
      if (!answer.text.endsWith('\n')) context.output.line('');
      if (context.output.interactive) context.output.note(speedLine(answer));
    }
  } finally {
    await answerer.close();
  }
}

/**
 * The node of this machine if one runs and can do what the flags say, else an engine of our own.
 */
async function chooseAnswerer(
  context: CommandContext,
  node: CideryNode,
  model: ModelId,
  flags: RunFlags,
): Promise<Answerer> {
  const own =
    flags.threads !== undefined ||
    flags.executor !== undefined ||
    !isPortableSeed(flags.seed ?? '0');
  const client = own ? null : await findNode(context);
  if (client === null) return localAnswerer(context, node, model);
  return remoteAnswerer(context, client, model, flags);
}

/** Always with an engine of this process: token ids and memory are no part of OpenAI's form. */
async function runAsJson(
  context: CommandContext,
  node: CideryNode,
  model: ModelId,
  text: string,
  flags: RunFlags,
): Promise<void> {
  const answerer = await localAnswerer(context, node, model);
  const { state, settings, plan } = answerer.instance;
  const loadMs = state.kind === 'ready' ? state.opened.loadMs : 0;
  const question = questionOf(text, flags);
  const answer = await answerer.answer(question, answerOptions(flags), () => {}, context.signal);
  const { promptTokens, promptMs, generatedTokens, generateMs } = answer;
  context.output.value({
    model,
    text: answer.text,
    promptIds: answer.promptIds,
    ids: answer.ids,
    finishReason: answer.finishReason,
    timings: { loadMs, promptTokens, promptMs, generatedTokens, generateMs },
    memory: { peakBytes: await answerer.peakBytes() },
    mode: settings.precise ? 'precise' : 'fast',
    ranks: plan.ranks,
  });
}

async function readInput(signal: AbortSignal): Promise<string> {
  const parts: Buffer[] = [];
  let bytes = 0;
  const onAbort = () => process.stdin.destroy();
  signal.addEventListener('abort', onAbort, { once: true });
  for await (const part of process.stdin as AsyncIterable<Buffer>) {
    bytes += part.length;
    if (bytes > limits.promptInputMaxBytes) {
      throw new CideryError(
        'prompt_too_large',
        `the prompt is over ${limits.promptInputMaxBytes} bytes`,
        { hint: 'give a shorter one' },
      );
    }
    parts.push(part);
  }
  signal.throwIfAborted();
  return new TextDecoder().decode(Buffer.concat(parts));
}
