import { z } from 'zod';
import { CideryError, faultError } from '../base/error.ts';
import type { ModelId } from '../base/ids.ts';
import type { EngineSettings, RequestMessage } from '../engine/protocol.ts';
import type { Opened } from './rank-client.ts';
import type { RankGroup } from './rank-group.ts';
import type { RankPlan } from './rank-plan.ts';

const answerSchema = z.strictObject({ ids: z.array(z.int()), logits: z.string() });
type KnownAnswer = z.infer<typeof answerSchema>;

/** Any will do; these are spread over a vocabulary. */
const promptIds = [1, 9, 71, 503, 1_009, 4_993, 10_007, 30_011] as const;
const generatedTokens = 3;

/** What follows the prompt in precise mode, where `cpu` and `mlx` agree, by catalogue name. */
const published: ReadonlyMap<string, readonly number[]> = new Map([
  ['smollm2:135m', [99, 30, 824]],
]);

/** Which answers have to be the same. */
export interface CheckedModel {
  readonly model: ModelId;
  /** Tells the model's files from others that bore its name before. */
  readonly version: string;
  readonly settings: EngineSettings;
  readonly plan: RankPlan;
}

/**
 * What instances have answered to a fixed prompt. A model whose ranks are started again, or that is
 * run a second time, has to give the same answer in the same mode: the bits of all logits on `cpu`,
 * the greedy ids on `mlx`, whose bits depend on the shape of a step. In `precise` mode no split
 * changes the bits; in `fast` each has its own.
 */
export class KnownAnswers {
  readonly #answers = new Map<string, KnownAnswer>();

  /** Asks a fresh group that has nothing else to do. Rejects with `selftest_failed`. */
  async check(group: RankGroup, checked: CheckedModel, opened: Opened): Promise<void> {
    const question = questionFor(opened);
    if (question === null) return;
    const answer = await ask(group, question);
    const isWhole = question.ids.every((id, index) => id === promptIds[index]);
    const expected = isWhole ? published.get(checked.model) : undefined;
    const { precise } = checked.settings;
    if (precise && expected !== undefined && expected.join() !== answer.ids.join()) {
      throw failed(checked.model, `the ids ${answer.ids.join(' ')}, not ${expected.join(' ')}`);
    }
    const key = keyOf(checked, question);
    const before = this.#answers.get(key);
    if (before === undefined) return void this.#answers.set(key, answer);
    if (before.ids.join() !== answer.ids.join()) {
      throw failed(checked.model, `the ids ${answer.ids.join(' ')}, not ${before.ids.join(' ')}`);
    }
    if (checked.settings.executor === 'cpu' && before.logits !== answer.logits) {
      throw failed(checked.model, 'other logits');
    }
  }

  /** Nothing is held against a model's next instances: what was remembered may be what is wrong. */
  forget(model: ModelId): void {
    for (const key of this.#answers.keys()) {
      if (key.startsWith(`${model}\n`)) this.#answers.delete(key);
    }
  }
}

interface Question {
  readonly ids: number[];
  readonly tokens: number;
}

/** Null where the context has no room for a prompt and an answer. */
function questionFor({ contextLength, vocabulary }: Opened): Question | null {
  const tokens = Math.min(generatedTokens, contextLength - 1);
  if (tokens < 1) return null;
  const ids = promptIds.slice(0, contextLength - tokens).map((id) => id % vocabulary);
  return { ids, tokens };
}

function keyOf({ model, version, settings, plan }: CheckedModel, question: Question): string {
  const { executor, precise } = settings;
  const split = precise ? [] : [plan.kind, plan.ranks];
  const facts = [version, executor, precise, ...split, question.ids, question.tokens];
  return `${model}\n${JSON.stringify(facts)}`;
}

function ask(group: RankGroup, { ids, tokens }: Question): Promise<KnownAnswer> {
  return new Promise((resolve, reject) => {
    const onMessage = (message: RequestMessage) => {
      if (message.type === 'error') return reject(faultError(message.fault));
      const answer = message.type === 'reply' ? answerSchema.safeParse(message.value) : null;
      if (answer?.success === true) resolve(answer.data);
      else reject(new CideryError('rank_protocol', 'the rank did not answer its check'));
    };
    group.request({ type: 'check', id: 'check', ids, tokens }, { onMessage, onLost: reject });
  });
}

function failed(model: ModelId, what: string): CideryError {
  return new CideryError('selftest_failed', `${model} answered its known prompt with ${what}`, {
    hint:
      'if it comes again, test the memory of this machine (`cidery selftest`), and fetch the ' +
      'model anew if its files have changed',
  });
}
