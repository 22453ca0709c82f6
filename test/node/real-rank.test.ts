import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, describe, expect, test } from 'vitest';
import { CideryError } from '../../src/base/error.ts';
import type { GenerationEvent } from '../../src/node/generation.ts';
import type { CideryNode } from '../../src/node/node.ts';
import { testExecutor } from '../support/executor.ts';
import { optionsWith } from '../support/rank-session.ts';
import {
  admitTiny,
  admitTinyWithLongContext,
  eventually,
  isAlive,
  realNode,
  type RealNodeOptions,
} from '../support/real-node.ts';

/** What becomes of requests, ranks and the daemon when a real rank's process comes to harm. */

const home = mkdtempSync(join(tmpdir(), 'cidery-ranks-'));
afterAll(() => rmSync(home, { recursive: true }));
const never = new AbortController().signal;
/** Enough that an answer is still under way when its rank comes to harm. */
const answerTokens = testExecutor === 'mlx' ? 150 : 1_000;
const open: CideryNode[] = [];
afterEach(async () => {
  await Promise.all(open.splice(0).map((node) => node.close()));
});

function nodeWith(options: Partial<RealNodeOptions> = {}): CideryNode {
  const node = realNode({ home, ...options });
  open.push(node);
  return node;
}

function pidOf(node: CideryNode): number {
  const pid = node.state().instances[0]?.ranks[0]?.pid;
  if (typeof pid !== 'number') throw new Error('no rank runs');
  return pid;
}

interface Answer {
  readonly events: GenerationEvent[];
  /** Null: it ended well. */
  code: string | null;
}

/** Asks for many tokens; resolves when the first has come, with the end. */
async function begin(
  node: CideryNode,
  model: string,
  seed: number,
): Promise<{ readonly ended: Promise<Answer> }> {
  const generation = await node.generate(
    {
      model,
      input: { kind: 'ids', ids: [seed, 1, 2] },
      options: optionsWith({
        maxTokens: answerTokens,
        sampling: { temperature: 0.9, seed: `${seed}` },
      }),
    },
    never,
  );
  const answer: Answer = { events: [], code: null };
  const ended = (async () => {
    try {
      for await (const event of generation.events) answer.events.push(event);
    } catch (error) {
      answer.code = error instanceof CideryError ? error.code : String(error);
    }
    return answer;
  })();
  await eventually('a first token', () => answer.events.length > 0 || answer.code !== null);
  return { ended };
}

function idsIn({ events }: Answer): number[] {
  return events.flatMap((event) => (event.type === 'delta' ? event.ids : []));
}

async function idsOf(node: CideryNode, model: string): Promise<number[]> {
  const { events } = await node.generate(
    { model, input: { kind: 'ids', ids: [1, 2, 3] }, options: optionsWith({ maxTokens: 6 }) },
    never,
  );
  const ids: number[] = [];
  for await (const event of events) if (event.type === 'delta') ids.push(...event.ids);
  return ids;
}

describe('a rank in the middle of answers', () => {
  test.each([
    ['is killed', 'SIGKILL'],
    ['crashes', 'SIGABRT'],
    ['is stopped and becomes silent', 'SIGSTOP'],
  ] as const)(
    '%s: each answer goes on in a fresh one, and is the undisturbed one',
    async (_, signal) => {
      const node = nodeWith();
      const model = await admitTinyWithLongContext(node, 'llama', home);
      const beginAll = () => Array.from({ length: 8 }, (__, seed) => begin(node, model, seed));
      const endOf = async (answers: ReturnType<typeof beginAll>) =>
        Promise.all((await Promise.all(answers)).map(({ ended }) => ended));
      const expected = (await endOf(beginAll())).map(idsIn);
      const pid = pidOf(node);
      const answers = beginAll();
      await Promise.race(answers);
      process.kill(pid, signal);
      const ends = await endOf(answers);
      expect(ends.map((end) => end.code)).toEqual(ends.map(() => null));
      expect(ends.map(idsIn)).toEqual(expected);
      expect(ends.map(({ events }) => events.at(-1))).toMatchObject(
        ends.map(() => ({
          type: 'done',
          usage: { promptTokens: 3, generatedTokens: answerTokens },
        })),
      );
      expect(isAlive(pid)).toBe(false);
      expect(pidOf(node)).not.toBe(pid);
      expect(node.deployments.list().map(({ instance }) => instance.requests)).toEqual([0]);
    },
    90_000,
  );

  test('cannot be moved by SIGTERM when it is stopped, and is ended all the same', async () => {
    const node = nodeWith();
    const model = await admitTiny(node, 'llama');
    await idsOf(node, model);
    const pid = pidOf(node);
    process.kill(pid, 'SIGSTOP');
    await node.close();
    expect(isAlive(pid)).toBe(false);
  });
});

test('a rank whose JavaScript runs out of memory costs its requests', async () => {
  const node = nodeWith({ environment: { NODE_OPTIONS: '--max-old-space-size=40' } });
  const model = await admitTiny(node, 'llama');
  const expected = await idsOf(node, model);
  const ids = Array.from({ length: 4_000_000 }, () => 1);
  const refused = await node
    .generate({ model, input: { kind: 'ids', ids }, options: optionsWith({}) }, never)
    .catch((error: unknown) => error);
  expect(refused).toMatchObject({ code: 'request_given_up' });
  expect(await idsOf(node, model)).toEqual(expected);
});

test('a model that no rank can open is an error that says why', async () => {
  const node = nodeWith({ environment: { CIDERY_ADDONS: home } });
  const model = await admitTiny(node, 'llama');
  const refused = await idsOf(node, model).catch((error: unknown) => error);
  expect(refused).toMatchObject({ code: 'addon_missing' });
});

test('two models run side by side, and the end of one is not the other’s', async () => {
  const node = nodeWith();
  const [llama, qwen] = [await admitTiny(node, 'llama'), await admitTiny(node, 'qwen3')];
  const [first] = await Promise.all([idsOf(node, llama), idsOf(node, qwen)]);
  const { ended } = await begin(node, llama, 4);
  const pids = node.state().instances.map(({ model, ranks }) => [model, ranks[0]?.pid] as const);
  const qwenPid = pids.find(([model]) => model === qwen)?.[1];
  process.kill(qwenPid ?? 0, 'SIGKILL');
  expect((await ended).code).toBe(null);
  expect(await idsOf(node, llama)).toEqual(first);
});
