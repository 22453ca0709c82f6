import type { ChildProcess } from 'node:child_process';
import { rm } from 'node:fs/promises';
import { z } from 'zod';
import { readEvents } from '../../src/api/read-events.ts';
import { CideryError } from '../../src/base/error.ts';
import { readLines } from '../../src/cli/read-lines.ts';
import { benchLimits } from '../limits.ts';
import { startChild } from '../processes/child.ts';
import type { Cidery } from './cidery.ts';
import type { Needs } from './subject.ts';

const eventSchema = z.discriminatedUnion('event', [
  z.looseObject({ event: z.literal('ready'), url: z.string() }),
  z.looseObject({ event: z.literal('model'), model: z.string() }),
]);
const chunkSchema = z.looseObject({
  choices: z.array(z.looseObject({ text: z.string() })),
  usage: z.looseObject({ completion_tokens: z.int() }).nullish(),
  timings: z.looseObject({ prompt_ms: z.number() }).optional(),
  error: z.looseObject({ message: z.string() }).optional(),
});

/** What a client saw of its answer; milliseconds of this process's clock. */
export interface Stream {
  readonly startedAt: number;
  /** When each event with text came. */
  readonly times: readonly number[];
  readonly tokens: number;
}

/** With what the rank says of it by its own clock. */
interface TimedStream extends Stream {
  /** To the first token, from when the rank began with the prompt. */
  readonly promptMs: number;
}

/** Hears of each event with text; ends the answer from the client's side. */
interface Watch {
  readonly onEvent?: () => void;
  readonly signal?: AbortSignal;
}

/** A daemon of its own with a model loaded, and clients of its HTTP API. */
export class CideryServer {
  readonly #process: ChildProcess;
  readonly #home: string;
  readonly #url: string;
  readonly #model: string;

  private constructor(child: ChildProcess, home: string, url: string, model: string) {
    this.#process = child;
    this.#home = home;
    this.#url = url;
    this.#model = model;
  }

  /** Returns when the model is loaded; `more`: flags of `cidery start`. */
  static async start(
    cidery: Cidery,
    needs: Needs,
    more: readonly string[] = [],
  ): Promise<CideryServer> {
    const home = await cidery.newFolder();
    const context = ['--context', `${needs.contextLength}`];
    const flags = ['--port', '0', '--json', '--home', home, '--model', cidery.model];
    const command = cidery.command('start', [
      ...flags,
      ...context,
      ...cidery.flags(needs),
      ...more,
    ]);
    const child = startChild(command);
    let lastWords = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      lastWords = (lastWords + text).slice(-benchLimits.lastWordsMaxCharacters);
    });
    const timer = setTimeout(() => child.kill('SIGKILL'), benchLimits.startMs);
    try {
      let url = '';
      const output: AsyncIterable<Buffer> = child.stdout;
      for await (const line of readLines(output, benchLimits.lineMaxBytes)) {
        const event = eventSchema.parse(JSON.parse(String(line)));
        if (event.event === 'ready') url = event.url;
        else return new CideryServer(child, home, url, event.model);
      }
      const reason = lastWords.trim().split('\n').at(-1) ?? '';
      throw new CideryError('bench_process', `\`start\` ended before its model: ${reason}`);
    } catch (error) {
      child.kill('SIGKILL');
      await rm(home, { recursive: true, force: true });
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  get pid(): number {
    return this.#process.pid ?? 0;
  }

  /** One streaming client of `/v1/completions`, greedy, past any end of text. */
  async stream(
    prompt: readonly number[],
    maxTokens: number,
    limitMs: number,
    { onEvent, signal }: Watch = {},
  ): Promise<TimedStream> {
    const timeout = AbortSignal.timeout(limitMs);
    const startedAt = performance.now();
    const response = await fetch(`${this.#url}/v1/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({
        model: this.#model,
        prompt,
        max_tokens: maxTokens,
        temperature: 0,
        ignore_eos: true,
        stream: true,
        stream_options: { include_usage: true },
      }),
      signal: signal === undefined ? timeout : AbortSignal.any([timeout, signal]),
    });
    if (!response.ok || response.body === null) {
      throw new CideryError('bench_http', `HTTP ${response.status}: ${await response.text()}`);
    }
    const times: number[] = [];
    let tokens = 0;
    let promptMs = Number.NaN;
    for await (const data of readEvents(response.body)) {
      if (data === '[DONE]') break;
      const chunk = chunkSchema.parse(JSON.parse(data));
      if (chunk.error !== undefined) throw new CideryError('bench_http', chunk.error.message);
      if (chunk.choices.some(({ text }) => text !== '')) {
        times.push(performance.now());
        onEvent?.();
      }
      tokens = chunk.usage?.completion_tokens ?? tokens;
      promptMs = chunk.timings?.prompt_ms ?? promptMs;
    }
    return { startedAt, times, tokens, promptMs };
  }

  async close(): Promise<void> {
    const ended = new Promise((resolve) => this.#process.once('close', resolve));
    this.#process.kill('SIGTERM');
    const timer = setTimeout(() => this.#process.kill('SIGKILL'), 2 * benchLimits.leaveMs);
    await ended;
    clearTimeout(timer);
    await rm(this.#home, { recursive: true, force: true });
  }
}
