import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { z } from 'zod';
import { type ClusterState, clusterStateSchema } from '../../src/node/cluster-state.ts';
import { Daemon, residentMebibytes } from '../support/daemon.ts';
import { isAlive } from '../support/real-node.ts';
import { seededNumbers } from '../support/seeded-numbers.ts';
import { starterModel } from '../support/starter-model.ts';

/** Many clients at once on a real daemon, half of them leaving early. */

const clients = 16;
const seconds = process.env['CIDERY_LONG'] === '1' ? 60 : 20;
const home = mkdtempSync(join(tmpdir(), 'cidery-load-'));
let daemon: Daemon;
beforeAll(async () => {
  daemon = await Daemon.start(home);
}, 300_000);
afterAll(async () => {
  await daemon?.stop();
  rmSync(home, { recursive: true });
});

const chunkSchema = z.looseObject({
  choices: z.array(
    z.looseObject({
      delta: z.looseObject({ content: z.string().nullish() }),
      finish_reason: z.enum(['stop', 'length']).nullable(),
    }),
  ),
});

interface Tally {
  whole: number;
  left: number;
  tokens: number;
}

/** One answer, streamed; leaves after `leaveAfter` events. */
async function streamOnce(prompt: string, maxTokens: number, leaveAfter: number): Promise<Tally> {
  const stop = new AbortController();
  const response = await fetch(`${daemon.url}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({
      model: starterModel,
      messages: [{ role: 'user', content: prompt }],
      max_tokens: maxTokens,
      ignore_eos: true,
      stream: true,
    }),
    signal: stop.signal,
  });
  if (response.status !== 200 || response.body === null) {
    throw new Error(`${response.status}: ${await response.text()}`);
  }
  let rest = '';
  const seen: string[] = [];
  for await (const text of response.body.pipeThrough(new TextDecoderStream())) {
    const frames = (rest + text).split('\n\n');
    rest = frames.pop() ?? '';
    seen.push(...frames.filter((frame) => frame.startsWith('data: ')));
    if (seen.length > leaveAfter) {
      stop.abort();
      return { whole: 0, left: 1, tokens: seen.length };
    }
  }
  expect(seen.pop()).toBe('data: [DONE]');
  const chunks = seen.map((frame) => chunkSchema.parse(JSON.parse(frame.slice(6))));
  const finishes = chunks.flatMap(({ choices }) => choices.map((choice) => choice.finish_reason));
  expect(finishes.filter((reason) => reason !== null)).toEqual(['length']);
  return { whole: 1, left: 0, tokens: maxTokens };
}

/** All clients, each asking again and again until the time is over. */
async function load(seed: number, lastsMs: number): Promise<Tally> {
  const endsAt = performance.now() + lastsMs;
  const total: Tally = { whole: 0, left: 0, tokens: 0 };
  const client = async (number: number): Promise<void> => {
    const dice = seededNumbers(seed * 100 + number);
    while (performance.now() < endsAt) {
      const leaves = number % 2 === 1;
      const prompt = `${'Tell me more. '.repeat(dice(20))}What is number ${dice(1_000)}?`;
      const tally = await streamOnce(
        prompt,
        5 + dice(20),
        leaves ? dice(10) : Number.POSITIVE_INFINITY,
      );
      total.whole += tally.whole;
      total.left += tally.left;
      total.tokens += tally.tokens;
    }
  };
  await Promise.all(Array.from({ length: clients }, (_, number) => client(number)));
  return total;
}

async function state(): Promise<ClusterState> {
  const response = await fetch(`${daemon.url}/cluster/v1/state`);
  return clusterStateSchema.parse(await response.json());
}

/** Resolves when the instance has nothing to do any more. */
async function idle(): Promise<ClusterState> {
  for (;;) {
    const now = await state();
    const busy = now.instances.filter(({ measured }) => measured.running + measured.waiting > 0);
    if (busy.length === 0) return now;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

async function measure(): Promise<{ daemon: number; rank: number; pid: number }> {
  const pid = (await idle()).instances[0]?.ranks[0]?.pid ?? 0;
  return { daemon: residentMebibytes(daemon.pid), rank: residentMebibytes(pid), pid };
}

test(
  `${clients} clients for ${seconds} s leave nothing behind`,
  async () => {
    // Slots fill and heaps find their size.
    await load(1, 8_000);
    const before = await measure();
    const total = await load(2, seconds * 1_000);
    expect(total.whole).toBeGreaterThanOrEqual(clients / 2);
    expect(total.left).toBeGreaterThanOrEqual(clients / 2);
    const after = await measure();
    expect(after.pid).toBe(before.pid);
    process.stdout.write(
      `${total.whole} answers, ${total.left} left, ${total.tokens} tokens; resident MiB: daemon ` +
        `${before.daemon.toFixed(0)} to ${after.daemon.toFixed(0)}, rank ` +
        `${before.rank.toFixed(0)} to ${after.rank.toFixed(0)}\n`,
    );
    expect(after.daemon - before.daemon).toBeLessThan(48);
    expect(after.rank - before.rank).toBeLessThan(64);
    expect(
      daemon.log().filter((line) => /error|fail|lost|stuck|exception| 5\d\d /i.test(line)),
    ).toEqual([]);
    expect(await streamOnce('Hello', 4, Number.POSITIVE_INFINITY)).toMatchObject({ whole: 1 });
  },
  (seconds + 120) * 1_000,
);

test('requests that are made to hurt cost themselves', async () => {
  const pid = (await state()).instances[0]?.ranks[0]?.pid;
  const ask = async (fields: object): Promise<number> => {
    const messages = [{ role: 'user', content: 'Hello' }];
    const body = { model: starterModel, messages, max_tokens: 2, ...fields };
    const response = await fetch(`${daemon.url}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
    await response.text();
    return response.status;
  };
  const nested = (levels: number) => {
    const call = { name: 'f', arguments: '['.repeat(levels) + ']'.repeat(levels) };
    const calls = [{ id: 'c', type: 'function', function: call }];
    const messages = [
      { role: 'user', content: 'x' },
      { role: 'assistant', tool_calls: calls },
    ];
    return ask({ messages });
  };
  const statuses = [await nested(1_000), await nested(6_000), await nested(300_000)];
  expect(statuses).toEqual([400, 400, 400]);
  expect(await ask({ repetition_penalty: 1e308 })).toBe(200);
  expect(await ask({ repetition_penalty: 1e-308, top_k: 2 ** 40, temperature: 2 })).toBe(200);
  expect(await ask({ messages: [{ role: 'user', content: 'a '.repeat(100_000) }] })).toBe(400);
  expect((await state()).instances[0]?.ranks[0]?.pid).toBe(pid);
});

test('it ends in order when it is told to in the middle of answers', async () => {
  const pid = (await state()).instances[0]?.ranks[0]?.pid ?? 0;
  const cut = Array.from({ length: 8 }, (_, index) =>
    streamOnce(`Count to ${index}.`, 400, Number.POSITIVE_INFINITY).then(
      () => 'whole',
      () => 'cut',
    ),
  );
  await new Promise((resolve) => setTimeout(resolve, 1_000));
  expect(await daemon.stop()).toBe(0);
  expect(await Promise.all(cut)).toEqual(cut.map(() => 'cut'));
  expect(isAlive(pid)).toBe(false);
});
