import { resolve } from 'node:path';
import { CideryError } from '../base/error.ts';
import type { ModelId } from '../base/ids.ts';
import { buildModel, weightFileBytes } from '../model/model.ts';
import { chooseSplit } from '../model/split/plan.ts';
import type { CideryNode } from '../node/node.ts';
import { refuseSplitAlone } from '../node/rank-plan.ts';
import { realDisk } from '../platform/real-disk.ts';
import type { CommandContext } from './context.ts';
import type {
  DetokenizeRequest,
  GenerateRequest,
  LogitsRequest,
  ParametersRequest,
  RenderRequest,
  TokenizeRequest,
} from './debug-request.ts';
import { plainSampling } from './local-answerer.ts';
import { requireModel } from './local-models.ts';

type Reply = Record<string, unknown>;

/** Does what `debug` is asked, in this process's own node. */
export class DebugOperations {
  readonly #context: CommandContext;
  readonly #node: CideryNode;
  readonly #precise: boolean;
  /** What names came to, so that a session reads each model's files once. */
  readonly #models = new Map<string, ModelId>();

  constructor(context: CommandContext, node: CideryNode, precise: boolean) {
    this.#context = context;
    this.#node = node;
    this.#precise = precise;
  }

  async logits({ model, ids, last, out }: LogitsRequest): Promise<Reply> {
    const name = await this.#model(model);
    const request = { ids, last: last ?? 1, out: resolve(out) };
    return this.#node.logits(name, request, this.#context.signal);
  }

  async generate(request: GenerateRequest): Promise<Reply> {
    const model = await this.#model(request.model);
    // Loading is no part of what is measured.
    await this.#node.ready(model, this.#context.signal);
    if ('batch' in request) return this.#generateBatch(model, request, request.batch);
    const { ids, logprobs, promptMs, generateMs } = await this.#row(model, request, request.ids);
    return { ids, ...(request.logprobs === true ? { logprobs } : {}), promptMs, generateMs };
  }

  tokenize({ tokenizer, text, special }: TokenizeRequest): Promise<Reply> {
    return this.#tokenizerPath(tokenizer).then((path) =>
      this.#node.text({ op: 'tokenize', tokenizer: path, text, special: special ?? false }),
    );
  }

  detokenize({ tokenizer, ids, skipSpecial }: DetokenizeRequest): Promise<Reply> {
    return this.#tokenizerPath(tokenizer).then((path) =>
      this.#node.text({
        op: 'detokenize',
        tokenizer: path,
        ids,
        skipSpecial: skipSpecial ?? false,
      }),
    );
  }

  render(request: RenderRequest): Promise<Reply> {
    const { template, messages, tools, addGenerationPrompt, variables, now } = request;
    return this.#node.text({
      op: 'render',
      template,
      messages,
      tools: tools ?? null,
      addGenerationPrompt: addGenerationPrompt ?? false,
      variables: variables ?? {},
      now: now ?? null,
    });
  }

  /** From config and headers alone: nothing is loaded. */
  async parameters(request: ParametersRequest): Promise<Reply> {
    refuseSplitAlone(request);
    const manifest = await this.#node.manifest(await this.#model(request.model));
    const ranks = request.ranks ?? 1;
    const wanted = request.split ?? 'auto';
    const kind = wanted === 'auto' ? chooseSplit(buildModel(manifest).spec, ranks) : wanted;
    return {
      ranks: Array.from({ length: ranks }, (_, rank) => {
        const split = { kind, rank, ranks, shares: null };
        const model = buildModel(manifest, { split, precise: this.#precise });
        return {
          bytes: weightFileBytes(model),
          tensors: model.parameters.map(({ path, shape, part }) => ({
            path,
            shape,
            split: part.split,
          })),
        };
      }),
    };
  }

  /** All rows at once; the prompts' time ends with the last row's first token. */
  async #generateBatch(
    model: ModelId,
    request: GenerateRequest,
    batch: readonly number[][],
  ): Promise<Reply> {
    const startedAt = performance.now();
    const rows = await Promise.all(batch.map((ids) => this.#row(model, request, ids)));
    const endedAt = performance.now();
    const promptMs = Math.max(...rows.map(({ firstAt }) => firstAt)) - startedAt;
    const logprobs = rows.map((row) => row.logprobs);
    return {
      batch: rows.map(({ ids }) => ids),
      ...(request.logprobs === true ? { logprobs } : {}),
      promptMs,
      generateMs: endedAt - startedAt - promptMs,
    };
  }

  async #row(model: ModelId, request: GenerateRequest, promptIds: number[]) {
    const { events } = await this.#node.generate(
      {
        model,
        input: { kind: 'ids', ids: promptIds },
        options: {
          maxTokens: request.maxTokens,
          ignoreEos: request.ignoreEos ?? false,
          stop: [],
          choices: 1,
          logprobs: request.logprobs === true ? 0 : null,
          skipSpecial: false,
          sampling: plainSampling,
        },
      },
      this.#context.signal,
    );
    const ids: number[] = [];
    const logprobs: number[] = [];
    let firstAt: number | null = null;
    for await (const event of events) {
      if (event.type === 'delta') {
        firstAt ??= performance.now();
        ids.push(...event.ids);
        logprobs.push(...event.logprobs.map(({ logprob }) => logprob));
      } else if (event.type === 'done') {
        const { promptMs, generateMs } = event.timings;
        return { ids, logprobs, promptMs, generateMs, firstAt: firstAt ?? performance.now() };
      }
    }
    throw new CideryError('internal', 'bug in cidery: a generation ended without its end');
  }

  async #model(reference: string): Promise<ModelId> {
    const known = this.#models.get(reference);
    if (known !== undefined) return known;
    const found = await requireModel(this.#context, this.#node.library, reference, 'catalogue');
    this.#models.set(reference, found.id);
    return found.id;
  }

  /** The path itself where it is one of a file, else that of the model that the text names. */
  async #tokenizerPath(text: string): Promise<string> {
    const path = resolve(text);
    const isFile = text.endsWith('.json') && (await realDisk.facts(path))?.kind === 'file';
    if (isFile) return path;
    const { tokenizerPath } = (await this.#node.manifest(await this.#model(text))).text;
    if (tokenizerPath !== null) return tokenizerPath;
    throw new CideryError('tokenizer_missing', `${text} has no tokenizer.json`, {
      hint: 'give the path of one',
    });
  }
}
