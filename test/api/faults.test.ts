import { once } from 'node:events';
import { connect } from 'node:net';
import OpenAI from 'openai';
import { afterEach, describe, expect, test } from 'vitest';
import { limits } from '../../src/base/limits.ts';
import { ScriptedRanks } from '../support/scripted-rank.ts';
import { echoModel, type ServedNode, serveNode } from '../support/served-node.ts';

let served: ServedNode;

afterEach(() => served.close());

const messages = [{ role: 'user' as const, content: 'one two three four' }];

async function start(script: ConstructorParameters<typeof ScriptedRanks>[0]): Promise<OpenAI> {
  served = await serveNode({ ranks: new ScriptedRanks(script) });
  return new OpenAI({ baseURL: `${served.url}/v1`, apiKey: 'none', maxRetries: 0 });
}

/** The error that ends a stream, after the chunks that came before it. */
async function readToError(stream: AsyncIterable<unknown>): Promise<unknown> {
  try {
    for await (const chunk of stream) expect(chunk).toBeDefined();
  } catch (error) {
    return error;
  }
  return null;
}

describe('clients that leave', () => {
  test('a stream that its client ends is cancelled in the rank', async () => {
    const client = await start({ tokenMs: 50 });
    const stream = await client.chat.completions.create({
      model: echoModel,
      messages,
      stream: true,
    });
    for await (const chunk of stream) {
      if (chunk.choices[0]?.delta.content === 'one ') break;
    }
    await expect.poll(() => served.ranks.last.cancelled.length).toBe(1);
    expect(served.ranks.last.active).toBe(0);
  });

  test('so is a whole answer whose client has gone', async () => {
    const client = await start({ tokenMs: 100_000 });
    const leave = new AbortController();
    const answer = client.chat.completions.create(
      { model: echoModel, messages },
      { signal: leave.signal },
    );
    const outcome = answer.catch((error: unknown) => error);
    await expect.poll(() => served.ranks.started.at(-1)?.active).toBe(1);
    leave.abort();
    expect(await outcome).toBeInstanceOf(OpenAI.APIUserAbortError);
    await expect.poll(() => served.ranks.last.cancelled.length).toBe(1);
  });

  test('and one that is gone before its model is loaded', async () => {
    await start({});
    const socket = connect(served.server.port, '127.0.0.1');
    await once(socket, 'connect');
    const body = JSON.stringify({ model: echoModel, messages });
    socket.write(
      `POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: ${body.length}` +
        `\r\n\r\n${body}`,
    );
    socket.destroy();
    const client = new OpenAI({ baseURL: `${served.url}/v1`, apiKey: 'none', maxRetries: 0 });
    const answer = await client.chat.completions.create({ model: echoModel, messages });
    expect(answer.choices[0]?.message.content).toBe('one two three four ');
    expect(served.ranks.last.active).toBe(0);
  });
});

describe('ranks that fail', () => {
  test('a crash costs no client anything: a fresh rank goes on where the answer was', async () => {
    const client = await start({ tokenMs: 100_000 });
    const ask = () => client.chat.completions.create({ model: echoModel, messages, stream: true });
    const streams = await Promise.all([ask(), ask()]);
    const whole = client.chat.completions.create({ model: echoModel, messages });
    await expect.poll(() => served.ranks.last.active).toBe(3);
    served.ranks.script.tokenMs = 0;
    served.ranks.last.crash();
    for (const stream of streams) {
      let text = '';
      for await (const { choices } of stream) text += choices[0]?.delta.content ?? '';
      expect(text).toBe('one two three four ');
    }
    expect((await whole).choices[0]?.message.content).toBe('one two three four ');
    expect(served.ranks.started.length).toBe(2);
  });

  test('a request over which rank after rank says what is no message is given up', async () => {
    const client = await start({ tokenMs: 100_000 });
    const stream = await client.chat.completions.create({
      model: echoModel,
      messages,
      stream: true,
    });
    const failure = readToError(stream);
    for (let rank = 1; rank <= limits.fruitlessTriesMax + 1; rank++) {
      await expect.poll(() => served.ranks.started.length).toBe(rank);
      await expect.poll(() => served.ranks.last.active).toBe(1);
      served.ranks.last.sayGarbage();
    }
    expect(await failure).toMatchObject({ code: 'request_given_up', type: 'server_error' });
  });

  test('a model that cannot be loaded says why, and is tried again when asked for', async () => {
    const openFault = { code: 'model_file_broken', message: 'model is cut', hint: null };
    const client = await start({ openFault });
    const failure = await client.chat.completions
      .create({ model: echoModel, messages })
      .catch((error: unknown) => error);
    expect(failure).toMatchObject({ code: 'model_file_broken' });
    served.ranks.script.openFault = null;
    const answer = await client.chat.completions.create({ model: echoModel, messages });
    expect(answer.choices[0]?.finish_reason).toBe('stop');
  });

  test('stopping a model ends its answers with an error', async () => {
    const client = await start({ tokenMs: 100_000 });
    const stream = await client.chat.completions.create({
      model: echoModel,
      messages,
      stream: true,
    });
    const [deployment] = served.node.state().deployments;
    await served.node.deployments.remove(deployment?.id ?? '');
    expect(await readToError(stream)).toMatchObject({ code: 'instance_stopped' });
  });
});
