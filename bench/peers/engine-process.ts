import { z } from 'zod';
import type { Command } from '../processes/child.ts';
import { LineProcess } from '../processes/line-process.ts';
import type { Engine, Generated } from './subject.ts';

const rows = z.array(z.array(z.number()));
const replySchema = z.looseObject({
  batch: rows.optional(),
  ids: z.array(z.number()).optional(),
  promptMs: z.number(),
  generateMs: z.number(),
  times: rows.optional(),
});

/**
 * An engine behind the requests of `cidery debug`, which the peers' workers take, too:
 * `{"op":"generate","model","ids"|"batch","maxTokens","ignoreEos"}`.
 */
export class EngineProcess implements Engine {
  readonly #process: LineProcess;
  readonly #model: string;

  constructor(title: string, command: Command, model: string) {
    this.#process = new LineProcess(title, command);
    this.#model = model;
  }

  get pid(): number {
    return this.#process.pid;
  }

  async generate(
    prompts: readonly (readonly number[])[],
    maxTokens: number,
    limitMs: number,
  ): Promise<Generated> {
    // One row alone has the rank's own clock.
    const input = prompts.length === 1 ? { ids: prompts[0] } : { batch: prompts };
    const reply = await this.request(
      replySchema,
      { op: 'generate', ...input, maxTokens, ignoreEos: true },
      limitMs,
    );
    return {
      rows: reply.batch ?? (reply.ids === undefined ? [] : [reply.ids]),
      promptMs: reply.promptMs,
      generateMs: reply.generateMs,
      times: reply.times ?? [],
    };
  }

  request<Reply>(schema: z.ZodType<Reply>, body: object, limitMs: number): Promise<Reply> {
    return this.#process.request(schema, { model: this.#model, ...body }, limitMs);
  }

  close(): Promise<void> {
    return this.#process.close();
  }
}
