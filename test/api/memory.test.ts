import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { z } from 'zod';
import { echoModel, serveNode, type ServedNode } from '../support/served-node.ts';

let served: ServedNode;

beforeAll(async () => {
  served = await serveNode();
});
afterAll(async () => served.close());

setFlagsFromString('--expose-gc');
const collect = z
  .custom<() => void>((value) => typeof value === 'function')
  .parse(runInNewContext('gc'));

async function ask(times: number): Promise<void> {
  for (let count = 0; count < times; count++) {
    const body = { model: echoModel, prompt: 'one two', max_tokens: 2, stream: count % 2 === 0 };
    const response = await fetch(`${served.url}/v1/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
    expect(response.status).toBe(200);
    await response.text();
  }
}

/** Bytes of JavaScript's that are still needed; what finalizers let go takes a turn more. */
async function heapBytes(): Promise<number> {
  for (let round = 0; round < 3; round++) {
    collect();
    await new Promise((resolve) => setImmediate(resolve));
  }
  return process.memoryUsage().heapUsed;
}

test('a request leaves nothing behind', async () => {
  await ask(200);
  const before = await heapBytes();
  await ask(600);
  const bytesEach = ((await heapBytes()) - before) / 600;
  // 20,800 when each kept its socket, its body and a stack trace; this test itself keeps 2,700.
  expect(bytesEach).toBeLessThan(6_000);
});
