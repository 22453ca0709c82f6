import { CideryError } from '../../base/error.ts';
import { limits } from '../../base/limits.ts';
import { openNode } from '../../node/open-node.ts';
import {
  type CommandContext,
  type EngineFlags,
  nodeSettings,
  type SplitFlags,
} from '../context.ts';
import { DebugOperations } from '../debug-operations.ts';
import { debugSchemas, generateBatchSchema } from '../debug-request.ts';
import { readLines } from '../read-lines.ts';
import { errorValue } from '../report-error.ts';
import { z } from 'zod';

/**
 * `cidery debug`: a JSON request a line on standard input, its reply a line on standard output, in
 * order, until the input ends. A request that fails gets an error for a reply.
 */
export async function debug(
  context: CommandContext,
  flags: EngineFlags & SplitFlags,
): Promise<void> {
  const { signal } = context;
  const node = await openNode(nodeSettings(context, flags));
  const operations = new DebugOperations(context, node, flags.precise ?? false);
  const onAbort = () => process.stdin.destroy();
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    const input: AsyncIterable<Buffer> = process.stdin;
    for await (const line of readLines(input, limits.debugLineMaxBytes)) {
      if (typeof line === 'string' && line.trim() === '') continue;
      const reply = await answerLine(operations, line);
      signal.throwIfAborted();
      process.stdout.write(`${JSON.stringify(reply)}\n`);
    }
    signal.throwIfAborted();
  } finally {
    signal.removeEventListener('abort', onAbort);
    await node.close();
  }
}

const requestSchema = z.looseObject({ op: z.string(), id: z.unknown().optional() });

/** Never rejects: what goes wrong is the reply. */
async function answerLine(
  operations: DebugOperations,
  line: string | CideryError,
): Promise<Record<string, unknown>> {
  let id: { id?: unknown } = {};
  try {
    if (typeof line !== 'string') throw line;
    const value = parseJson(line);
    if (typeof value === 'object' && value !== null && 'id' in value) id = { id: value.id };
    return { ...id, ...(await perform(operations, value)) };
  } catch (error) {
    return { ...id, error: errorValue(error) };
  }
}

function parseJson(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch (cause) {
    throw new CideryError('request_not_json', 'the line is not JSON', {
      hint: 'write one JSON object a line',
      cause,
    });
  }
}

async function perform(
  operations: DebugOperations,
  value: unknown,
): Promise<Record<string, unknown>> {
  const request = parse(requestSchema, value);
  switch (request.op) {
    case 'logits':
      return operations.logits(parse(debugSchemas.logits, value));
    case 'generate':
      return operations.generate(
        'batch' in request
          ? parse(generateBatchSchema, value)
          : parse(debugSchemas.generate, value),
      );
    case 'tokenize':
      return operations.tokenize(parse(debugSchemas.tokenize, value));
    case 'detokenize':
      return operations.detokenize(parse(debugSchemas.detokenize, value));
    case 'render':
      return operations.render(parse(debugSchemas.render, value));
    case 'parameters':
      return operations.parameters(parse(debugSchemas.parameters, value));
    default:
      throw new CideryError('request_unknown', `there is no op ${JSON.stringify(request.op)}`, {
        hint: `use one of ${Object.keys(debugSchemas).join(', ')}`,
      });
  }
}

function parse<Schema extends z.ZodType>(schema: Schema, value: unknown): z.infer<Schema> {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw new CideryError('request_invalid', z.prettifyError(parsed.error).replaceAll('\n', ' '));
}
