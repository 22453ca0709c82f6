import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CideryError } from '../../base/error.ts';
import type { CideryNode } from '../../node/node.ts';
import { openNode } from '../../node/open-node.ts';
import { catalogue } from '../../store/catalogue.ts';
import { type CommandContext, type EngineFlags, nodeSettings } from '../context.ts';
import { plainSampling } from '../local-answerer.ts';
import { AlreadyReported, errorLine } from '../report-error.ts';
import { tinyModelLogits, writeTinyModel } from '../tiny-model.ts';

interface TestResult {
  readonly name: string;
  readonly result: 'passed' | 'failed' | 'skipped';
  readonly detail: string;
}

/** `cidery selftest`: computes what is known and compares, in precise mode. */
export async function selftest(context: CommandContext, flags: EngineFlags): Promise<void> {
  const results: TestResult[] = [];
  for (const [name, test] of tests) {
    context.signal.throwIfAborted();
    const result = await attempt(name, () => test(context, { ...flags, precise: true }));
    results.push(result);
    context.output.line(`${result.result.padEnd(7)} ${name}: ${result.detail}`);
  }
  const failed = results.filter(({ result }) => result === 'failed').length;
  context.output.value({ passed: failed === 0, tests: results });
  if (failed > 0) throw new AlreadyReported('a known answer came out differently');
}

type Test = (context: CommandContext, flags: EngineFlags) => Promise<Omit<TestResult, 'name'>>;

const tests: readonly (readonly [string, Test])[] = [
  ['a model computed by hand', testTinyModel],
  ['the starter model', testStarter],
];

async function attempt(
  name: string,
  test: () => Promise<Omit<TestResult, 'name'>>,
): Promise<TestResult> {
  try {
    return { name, ...(await test()) };
  } catch (error) {
    return { name, result: 'failed', detail: errorLine(error) };
  }
}

async function withNode<Value>(
  context: CommandContext,
  flags: EngineFlags,
  work: (node: CideryNode) => Promise<Value>,
): Promise<Value> {
  const node = await openNode(nodeSettings(context, flags));
  try {
    return await work(node);
  } finally {
    await node.close();
  }
}

/** Largest difference of f32 arithmetic over a width of 32. */
const tolerance = 1e-4;

async function testTinyModel(
  context: CommandContext,
  flags: EngineFlags,
): Promise<Omit<TestResult, 'name'>> {
  const folder = await mkdtemp(join(tmpdir(), 'cidery-selftest-'));
  try {
    const out = join(folder, 'logits.safetensors');
    await writeTinyModel(join(folder, 'tiny'));
    const ids = [3, 1, 4, 1, 5, 9, 2, 6];
    // A home of its own: the model shall not stay in the user's list.
    const home = join(folder, 'home');
    await withNode({ ...context, home }, flags, async (node) => {
      const { id } = await node.library.admit(join(folder, 'tiny'));
      await node.logits(id, { ids, last: ids.length, out }, context.signal);
    });
    const found = floatsOf(await readFile(out));
    const expected = tinyModelLogits(ids).flat();
    if (found.length !== expected.length) {
      return { result: 'failed', detail: `${found.length} logits of ${expected.length}` };
    }
    const differences = expected.map((value, at) => Math.abs(value - (found[at] ?? Number.NaN)));
    const largest = Math.max(...differences);
    return {
      result: largest <= tolerance ? 'passed' : 'failed',
      detail: `largest difference of ${expected.length} logits ${largest.toExponential(1)}`,
    };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** The floats of a safetensors file that holds one tensor of them. */
function floatsOf(file: Buffer): number[] {
  const start = 8 + Number(file.readBigUInt64LE(0));
  const count = Math.floor((file.length - start) / 4);
  return Array.from({ length: count }, (_, at) => file.readFloatLE(start + at * 4));
}

const starterPrompt = 'Why is the sky blue?';
/** What mlx-lm 0.32.2 answers in f32, greedily: "The color of the sky is due to". */
const starterIds = [504, 2988, 288, 451, 1962, 5721, 281, 260];

async function testStarter(
  context: CommandContext,
  flags: EngineFlags,
): Promise<Omit<TestResult, 'name'>> {
  const name = catalogue[0]?.name ?? '';
  return withNode(context, flags, async (node) => {
    const present = (await node.library.list()).some(
      ({ id, state }) => id === name && state === 'ready',
    );
    if (!present) {
      return { result: 'skipped', detail: `${name} is not here; \`cidery pull ${name}\`` };
    }
    const ids = await greedyIds(node, name, context.signal);
    const same = ids.join() === starterIds.join();
    return {
      result: same ? 'passed' : 'failed',
      detail: same ? `${ids.length} tokens as expected` : `tokens ${ids.join(' ')}`,
    };
  });
}

async function greedyIds(node: CideryNode, model: string, signal: AbortSignal): Promise<number[]> {
  const ids: number[] = [];
  const { events } = await node.generate(
    {
      model,
      input: {
        kind: 'chat',
        messages: [{ role: 'user', content: starterPrompt }],
        tools: null,
        variables: {},
      },
      options: {
        maxTokens: starterIds.length,
        ignoreEos: false,
        stop: [],
        choices: 1,
        logprobs: null,
        skipSpecial: true,
        sampling: plainSampling,
      },
    },
    signal,
  );
  for await (const event of events) {
    if (event.type === 'delta') ids.push(...event.ids);
    if (event.type === 'done') return ids;
  }
  throw new CideryError('internal', 'bug in cidery: a generation ended without its end');
}
