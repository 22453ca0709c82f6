import { describe, expect, test } from 'vitest';
import { FakeClock, settled } from '../../test/support/fake-clock.ts';
import {
  doneMessage,
  type FakeRank,
  FakeSpawner,
  manifestOf,
  obliging,
  openedMessage,
  pong,
} from '../../test/support/fake-ranks.ts';
import { rejection } from '../../test/support/rejection.ts';
import { CideryError } from '../base/error.ts';
import { limits } from '../base/limits.ts';
import type { EngineSettings, RequestMessage, ToRank } from '../engine/protocol.ts';
import { type LoadProgress, RankClient } from './rank-client.ts';

const settings: EngineSettings = {
  executor: 'mlx',
  precise: true,
  contextLength: null,
  cacheBytes: 2 ** 20,
  slots: 4,
  threads: 0,
};

function world(behave: (rank: FakeRank, message: ToRank) => void = obliging) {
  const clock = new FakeClock();
  const spawner = new FakeSpawner(behave);
  const progress: number[] = [];
  const events = {
    onProgress: ({ doneBytes }: LoadProgress) => progress.push(doneBytes),
    onPong: () => {},
    onLog: () => {},
  };
  const client = new RankClient(spawner, clock, events, limits.rankStoppedMs);
  return { clock, spawner, rank: spawner.last, client, progress };
}

function logitsRequest(id: string): Extract<ToRank, { id: string }> {
  return { type: 'logits', id, ids: [1], last: 1, out: '/out' };
}

/** What a request's listener heard, in one line each. */
function listen(client: RankClient, id: string): string[] {
  const heard: string[] = [];
  client.request(logitsRequest(id), {
    onMessage: (message: RequestMessage) => heard.push(message.type),
    onLost: (error) => heard.push(`lost ${error.code}`),
  });
  return heard;
}

describe('opening', () => {
  test('waits for hello, sends the model, tells progress and resolves', async () => {
    const { rank, client, progress, clock } = world((from, message) => {
      if (message.type !== 'open') return;
      from.say({ type: 'progress', stage: 'weights', doneBytes: 5, totalBytes: 10 });
      from.say(openedMessage);
    });
    const opened = await client.open(manifestOf('m'), settings, null);
    expect(opened).toEqual(openedMessage);
    expect(progress).toEqual([5]);
    expect(rank.received).toEqual([
      { type: 'open', manifest: manifestOf('m'), settings, group: null },
    ]);
    rank.end({ code: 0, signal: null });
    await client.lost;
    expect(clock.timers).toBe(0);
  });

  test('rejects with the fault that the rank tells', async () => {
    const { client, rank } = world((from, message) => {
      if (message.type !== 'open') return;
      const fault = { code: 'model_unsupported', message: 'no such family', hint: 'another' };
      from.say({ type: 'failed', fault });
      from.end({ code: 1, signal: null });
    });
    const error = await client.open(manifestOf('m'), settings, null).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(CideryError);
    expect(error).toMatchObject({ code: 'model_unsupported', hint: 'another' });
    expect(await client.lost).toBe(error);
    expect(rank.signals).toEqual([]);
  });

  test('rejects with the last line of its log when the process ends without a word', async () => {
    const { client, rank } = world((from, message) => {
      if (message.type !== 'open') return;
      from.log('terminate called');
      from.end({ code: null, signal: 'SIGABRT' });
    });
    const error = await client.open(manifestOf('m'), settings, null).catch((e: unknown) => e);
    expect(error).toMatchObject({
      code: 'rank_lost',
      message: "the model's process ended by SIGABRT",
      hint: 'terminate called',
    });
    expect(rank.gone).toBe(true);
  });

  test('a process that never says hello is ended', async () => {
    const { client, spawner, clock } = world();
    spawner.onStart = () => {};
    const refused = rejection(client.open(manifestOf('m'), settings, null));
    await clock.advance(limits.rankHelloMs + 2 * limits.rankPingMs);
    expect((await refused).code).toBe('rank_stuck');
    expect(spawner.last.signals).toEqual(['SIGKILL']);
    expect(clock.timers).toBe(0);
  });
});

describe('watching', () => {
  test('a silent rank is ended, and everybody who waits is told', async () => {
    const { client, rank, clock, spawner } = world();
    await client.open(manifestOf('m'), settings, null);
    const [first, second] = [listen(client, 'a'), listen(client, 'b')];
    await clock.advance(10 * limits.rankSilenceMs);
    expect([...first, ...second]).toEqual([]);
    spawner.behave = () => {};
    await clock.advance(limits.rankSilenceMs - limits.rankPingMs);
    expect(rank.signals).toEqual([]);
    await clock.advance(3 * limits.rankPingMs);
    expect(rank.signals).toEqual(['SIGKILL']);
    expect([first, second]).toEqual([['lost rank_stuck'], ['lost rank_stuck']]);
    expect((await client.lost).message).toContain('does not answer');
    expect(clock.timers).toBe(0);
  });

  test('a daemon that was stopped itself does not end its ranks', async () => {
    const { client, rank, clock } = world();
    await client.open(manifestOf('m'), settings, null);
    await clock.advance(limits.rankPingMs);
    clock.jump(100 * limits.rankStepMs);
    await clock.advance(10 * limits.rankPingMs);
    expect(rank.signals).toEqual([]);
  });

  test('a step that does not end is noticed, a busy rank and an idle one are not', async () => {
    const { client, rank, clock, spawner } = world();
    await client.open(manifestOf('m'), settings, null);
    await clock.advance(2 * limits.rankStepMs);
    let steps = 0;
    spawner.behave = (from, message) => {
      if (message.type === 'ping') from.say(pong(message.number, { running: 1, steps: steps++ }));
    };
    await clock.advance(2 * limits.rankStepMs);
    expect(rank.signals).toEqual([]);
    spawner.behave = (from, message) => {
      if (message.type === 'ping') from.say(pong(message.number, { running: 1, steps }));
    };
    await clock.advance(limits.rankStepMs + 3 * limits.rankPingMs);
    expect(rank.signals).toEqual(['SIGKILL']);
    expect(await client.lost).toMatchObject({
      code: 'rank_stuck',
      message: expect.stringContaining('does not finish a step'),
    });
  });

  test.each([
    ['no JSON', 'no json\n'],
    ['a message of no known type', '{"type":"surprise"}\n'],
    ['a message with a field too many', '{"type":"hello","protocol":1,"pid":1,"more":1}\n'],
    ['a later protocol', '{"type":"hello","protocol":2,"pid":1}\n'],
    ['bytes that are no text', '\u0000\n'],
  ])('%s on the pipe ends the rank', async (_, text) => {
    const { client, rank, clock } = world();
    await client.open(manifestOf('m'), settings, null);
    const heard = listen(client, 'a');
    rank.sayBytes(new TextEncoder().encode(text));
    await settled();
    expect(heard).toEqual(['lost rank_protocol']);
    expect(rank.signals).toEqual(['SIGKILL']);
    expect(clock.timers).toBe(0);
  });

  test('a rank that does not read is ended', async () => {
    const { client, rank } = world();
    await client.open(manifestOf('m'), settings, null);
    rank.unsentBytes = limits.rankUnsentMaxBytes + 1;
    const heard = listen(client, 'a');
    await settled();
    expect(heard).toEqual(['lost rank_stuck']);
  });

  test('a rank that says it has failed and stays is ended', async () => {
    const { client, rank, clock } = world();
    await client.open(manifestOf('m'), settings, null);
    const heard = listen(client, 'a');
    rank.say({ type: 'failed', fault: { code: 'out_of_memory', message: 'm', hint: null } });
    await clock.advance(limits.rankLeaveMs - 1);
    expect([heard, rank.signals]).toEqual([[], []]);
    await clock.advance(1);
    expect([heard, rank.signals]).toEqual([['lost out_of_memory'], ['SIGKILL']]);
    expect(clock.timers).toBe(0);
  });
});

describe('requests', () => {
  test('each hears its own messages, and nothing after its end', async () => {
    const { client, rank } = world();
    await client.open(manifestOf('m'), settings, null);
    const [first, second] = [listen(client, 'a'), listen(client, 'b')];
    rank.say({ type: 'started', id: 'b', promptIds: [1] }, doneMessage('b'), doneMessage('b'));
    rank.say({ type: 'reply', id: 'a', value: {} }, { type: 'reply', id: 'a', value: {} });
    rank.say(doneMessage('nobody'));
    rank.end({ code: null, signal: 'SIGKILL' });
    await client.lost;
    expect([first, second]).toEqual([['reply'], ['started', 'done']]);
  });

  test('a cancelled one hears nothing more, and the rank is told once', async () => {
    const { client, rank } = world();
    await client.open(manifestOf('m'), settings, null);
    const heard = listen(client, 'a');
    client.cancel('a');
    client.cancel('a');
    client.cancel('unknown');
    rank.say(doneMessage('a'));
    rank.end({ code: 0, signal: null });
    await client.lost;
    expect(heard).toEqual([]);
    expect(rank.received.filter(({ type }) => type === 'cancel')).toEqual([
      { type: 'cancel', id: 'a' },
    ]);
  });

  test('one that comes after the end is told why', async () => {
    const { client, rank } = world();
    await client.open(manifestOf('m'), settings, null);
    rank.end({ code: 7, signal: null });
    await client.lost;
    expect(listen(client, 'late')).toEqual(['lost rank_lost']);
    expect((await rejection(client.open(manifestOf('m'), settings, null))).code).toBe('rank_lost');
  });

  test('one that cannot be written as JSON is refused and leaves nothing behind', async () => {
    const { client, rank } = world();
    await client.open(manifestOf('m'), settings, null);
    const before = rank.received.length;
    const request = { ...logitsRequest('deep'), out: deep(100_000) };
    const heard: string[] = [];
    const send = () =>
      client.request(request, {
        onMessage: ({ type }) => heard.push(type),
        onLost: ({ code }) => heard.push(code),
      });
    expect(send).toThrow(expect.objectContaining({ code: 'prompt_too_large' }));
    rank.end({ code: 0, signal: null });
    await client.lost;
    expect([heard, rank.received.length]).toEqual([[], before]);
  });
});

/** A value that is no string, where the types are not asked: nested arrays. */
function deep(levels: number): string {
  return JSON.parse('['.repeat(levels) + ']'.repeat(levels));
}

describe('closing', () => {
  test('asks, and the rank leaves', async () => {
    const { client, rank, clock } = world();
    await client.open(manifestOf('m'), settings, null);
    const heard = listen(client, 'a');
    await client.close();
    expect(rank.signals).toEqual([]);
    expect(heard).toEqual(['lost instance_stopped']);
    expect(clock.timers).toBe(0);
  });

  test('goes on to signals when nothing moves it', async () => {
    const { client, rank, clock } = world();
    rank.stubborn = true;
    await client.open(manifestOf('m'), settings, null);
    const closed = client.close();
    await clock.advance(limits.rankLeaveMs);
    expect(rank.signals).toEqual(['SIGTERM']);
    await clock.advance(limits.rankTerminateMs);
    expect(rank.signals).toEqual(['SIGTERM', 'SIGKILL']);
    await closed;
    expect(clock.timers).toBe(0);
  });

  test('of a rank that has not said hello yet works as well', async () => {
    const { client, spawner, clock } = world();
    spawner.onStart = () => {};
    const refused = rejection(client.open(manifestOf('m'), settings, null));
    await client.close();
    expect((await refused).code).toBe('instance_stopped');
    expect(clock.timers).toBe(0);
  });
});
