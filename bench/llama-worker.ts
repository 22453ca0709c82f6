import { pathToFileURL } from 'node:url';
import { z } from 'zod';
import { errorMessage } from '../src/base/error.ts';
import { readLines } from '../src/cli/read-lines.ts';
import { benchLimits } from './limits.ts';

/**
 * node-llama-cpp behind the bench's requests: a JSON request a line in, its reply a line out. Its
 * only argument is a JSON object: the library's path and what the model is opened with.
 */

/** As much of node-llama-cpp 3 as is used here; its own types are not among our packages. */
interface Library {
  getLlama(options: object): Promise<{
    loadModel(options: object): Promise<{
      createContext(options: object): Promise<{ getSequence(): Sequence }>;
    }>;
  }>;
}
interface Sequence {
  clearHistory(): Promise<void>;
  evaluate(tokens: readonly number[], options: object): AsyncIterable<number>;
}

const settingsSchema = z.strictObject({
  library: z.string(),
  model: z.string(),
  threads: z.int(),
  sequences: z.int(),
  contextLength: z.int(),
});
const ids = z.array(z.int()).min(1);
const requestSchema = z.looseObject({
  id: z.int(),
  ids: ids.optional(),
  batch: z.array(ids).optional(),
  maxTokens: z.int().positive(),
});
const librarySchema = z.custom<Library>(
  (value) =>
    z.looseObject({ getLlama: z.custom((f) => typeof f === 'function') }).safeParse(value).success,
);

interface Row {
  readonly tokens: number[];
  /** Milliseconds since the request. */
  readonly times: number[];
}

async function openSequences(settings: z.infer<typeof settingsSchema>): Promise<Sequence[]> {
  const url = pathToFileURL(settings.library).href;
  const library = librarySchema.parse(await import(url));
  const llama = await library.getLlama({
    gpu: false,
    build: 'never',
    maxThreads: settings.threads,
    logLevel: 'error',
    progressLogs: false,
  });
  const model = await llama.loadModel({ modelPath: settings.model, gpuLayers: 0 });
  const context = await model.createContext({
    contextSize: settings.contextLength,
    sequences: settings.sequences,
    threads: settings.threads,
  });
  return Array.from({ length: settings.sequences }, () => context.getSequence());
}

/** Greedy; an end of text ends the library's loop, which is entered again with that token. */
async function generate(
  sequence: Sequence,
  prompt: readonly number[],
  count: number,
  startedAt: number,
): Promise<Row> {
  await sequence.clearHistory();
  const row: Row = { tokens: [], times: [] };
  let input = prompt;
  while (row.tokens.length < count) {
    const before = row.tokens.length;
    for await (const token of sequence.evaluate(input, { temperature: 0, yieldEogToken: true })) {
      row.tokens.push(token);
      row.times.push(performance.now() - startedAt);
      if (row.tokens.length === count) break;
    }
    if (row.tokens.length === before) throw new Error('llama.cpp generated nothing');
    input = row.tokens.slice(-1);
  }
  return row;
}

async function answer(
  sequences: readonly Sequence[],
  request: z.infer<typeof requestSchema>,
): Promise<object> {
  const prompts = request.batch ?? (request.ids === undefined ? [] : [request.ids]);
  if (prompts.length > sequences.length) throw new Error('more prompts than sequences');
  const startedAt = performance.now();
  const rows = await Promise.all(
    prompts.map((prompt, index) => {
      const sequence = sequences[index];
      if (sequence === undefined) throw new Error('more prompts than sequences');
      return generate(sequence, prompt, request.maxTokens, startedAt);
    }),
  );
  const promptMs = Math.max(...rows.map(({ times }) => times[0] ?? Number.NaN));
  const endMs = Math.max(...rows.map(({ times }) => times.at(-1) ?? Number.NaN));
  return {
    batch: rows.map(({ tokens }) => tokens),
    promptMs,
    generateMs: endMs - promptMs,
    times: rows.map(({ times }) => times),
  };
}

async function main(): Promise<void> {
  const settings = settingsSchema.parse(JSON.parse(process.argv[2] ?? ''));
  const sequences = await openSequences(settings);
  const input: AsyncIterable<Buffer> = process.stdin;
  for await (const line of readLines(input, benchLimits.lineMaxBytes)) {
    if (typeof line !== 'string') throw line;
    const request = requestSchema.parse(JSON.parse(line));
    const reply = await answer(sequences, request).catch((error: unknown) => ({
      error: { code: 'llama', message: errorMessage(error) },
    }));
    process.stdout.write(`${JSON.stringify({ id: request.id, ...reply })}\n`);
  }
  // Its library keeps the process alive otherwise.
  process.exit(0);
}

await main();
