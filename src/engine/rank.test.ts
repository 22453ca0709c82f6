import { describe, expect, test } from 'vitest';
import { greedyOptions } from '../../test/support/requests.ts';
import { RankSession } from '../../test/support/rank-session.ts';
import type { Addon, EngineHandle } from './addon.ts';
import { loadAddon } from './load-addon.ts';
import { testExecutor } from '../../test/support/executor.ts';
import type { FromRank } from './protocol.ts';

/** The real addon, with some of its calls in other hands. */
function addonWith(changes: (real: Addon) => Partial<Addon>): () => Addon {
  return () => {
    const real = loadAddon(testExecutor);
    return { ...real, ...changes(real) };
  };
}

function addonError(code: string): Error {
  return Object.assign(new Error(`simulated ${code}`), { code });
}

function gather(session: RankSession): FromRank[] {
  const said: FromRank[] = [];
  session.onMessage((message) => said.push(message));
  return said;
}

describe('a rank that cannot go on says why and leaves', () => {
  const failures: readonly (readonly [string, (real: Addon) => Partial<Addon>, string])[] = [
    [
      'the addon is missing',
      () => {
        throw addonError('addon_missing');
      },
      'internal',
    ],
    [
      'the device is gone',
      () => ({
        openEngine: () => {
          throw addonError('device_unavailable');
        },
      }),
      'device_unavailable',
    ],
    [
      'memory ends while weights are read',
      () => ({ loadParameters: () => Promise.reject(addonError('out_of_memory')) }),
      'out_of_memory',
    ],
    [
      'a file is broken',
      () => ({ loadParameters: () => Promise.reject(addonError('model_file_broken')) }),
      'model_file_broken',
    ],
    [
      'binding fails with an error without a code',
      () => ({ bind: () => Promise.reject(new Error('what')) }),
      'engine_failed',
    ],
  ];
  test.each(failures)('%s', async (_, changes, code) => {
    let closed = 0;
    const session = new RankSession(
      addonWith((real) => ({
        closeEngine: (engine: EngineHandle) => {
          closed += 1;
          return real.closeEngine(engine);
        },
        ...changes(real),
      })),
    );
    expect(await session.open('llama')).toMatchObject({ type: 'failed', fault: { code } });
    expect(session.left).toEqual([1]);
    // What was opened has been closed again.
    expect(closed).toBe(code === 'internal' || code === 'device_unavailable' ? 0 : 1);
  });

  test('a context that does not fit the memory for it', async () => {
    const session = new RankSession();
    const failed = await session.open('llama', { cacheBytes: 1_000 });
    expect(failed).toMatchObject({ type: 'failed', fault: { code: 'insufficient_memory' } });
    expect(session.left).toEqual([1]);
  });

  test('a step fails in the middle of answers', async () => {
    let steps = 0;
    const session = new RankSession(
      addonWith((real) => ({
        step: (engine, plan) =>
          ++steps > 3 ? Promise.reject(addonError('out_of_memory')) : real.step(engine, plan),
      })),
    );
    await session.open('llama');
    const said = gather(session);
    session.start([1], { maxTokens: 100 });
    session.start([2], { maxTokens: 100 });
    const failed = await session.until(({ type }) => type === 'failed');
    expect(failed).toMatchObject({ fault: { code: 'out_of_memory' } });
    expect(session.left).toEqual([1]);
    await new Promise((resolve) => setTimeout(resolve, 50));
    // The daemon tells the requests; the rank says no more, and asks for no step behind the one
    // that was ahead.
    expect([said.at(-1), steps]).toEqual([failed, 5]);
  });

  test('a step brings what is no result', async () => {
    const session = new RankSession(
      addonWith(() => ({ step: () => Promise.resolve(new Uint8Array(64)) })),
    );
    await session.open('llama');
    session.start([1]);
    expect(await session.until(({ type }) => type === 'failed')).toMatchObject({
      fault: { code: 'engine_failed', message: 'not a step result' },
    });
  });

  test('a second model is asked of it', async () => {
    const session = new RankSession();
    await session.open('llama');
    expect(await session.open('llama')).toMatchObject({ fault: { code: 'internal' } });
  });
});

describe('messages', () => {
  test('one that names a request and cannot be read costs that request', async () => {
    const session = new RankSession();
    await session.open('llama');
    const said = gather(session);
    let deep: unknown = 'bottom';
    for (let level = 0; level < 20_000; level++) deep = [deep];
    const input = { kind: 'chat', messages: [{ role: 'user', content: deep }] };
    session.rank.receive({
      type: 'generate',
      id: 'deep',
      input: { ...input, tools: null, variables: {} },
      options: greedyOptions,
      resume: null,
    });
    session.rank.receive({ type: 'generate', id: 'odd' });
    expect(said.map((message) => ('id' in message ? [message.type, message.id] : []))).toEqual([
      ['error', 'deep'],
      ['error', 'odd'],
    ]);
    expect((await session.generate([1])).choices[0]?.ids.length).toBe(8);
  });

  test.each([[null], ['x'], [{}], [{ type: 'surprise' }], [{ type: 'cancel', id: 5 }]])(
    '%j is the end of the rank',
    async (value) => {
      const session = new RankSession();
      expect(() => session.rank.receive(value)).toThrow(
        expect.objectContaining({ code: 'rank_protocol' }),
      );
    },
  );

  test('requests before a model is open are refused', async () => {
    const session = new RankSession();
    expect(await session.refusal([1])).toBe('model_not_open');
    const refused = session.until(({ type }) => type === 'error');
    session.rank.receive({ type: 'logits', id: 'l', ids: [1], last: 1, out: '/none' });
    expect(await refused).toMatchObject({ fault: { code: 'model_not_open' } });
    expect((await session.ping()).memory.weightBytes).toBe(0);
  });

  test('logits of ids outside the vocabulary, or of too many, are refused', async () => {
    const session = new RankSession();
    await session.open('llama');
    for (const [ids, code] of [
      [[1, 131], 'token_unknown'],
      [Array.from({ length: 513 }, () => 1), 'prompt_too_long'],
    ] as const) {
      const refused = session.until(({ type }) => type === 'error');
      session.rank.receive({ type: 'logits', id: 'l', ids: [...ids], last: 1, out: '/none' });
      expect(await refused).toMatchObject({ fault: { code } });
    }
  });

  test('close leaves in order', () => {
    const session = new RankSession();
    session.rank.receive({ type: 'close' });
    expect(session.left).toEqual([0]);
  });
});
