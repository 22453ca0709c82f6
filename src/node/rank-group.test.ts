import { describe, expect, test } from 'vitest';
import { FakeClock, settled } from '../../test/support/fake-clock.ts';
import { fakePlan, fakeSettings, quietParts } from '../../test/support/fake-instance.ts';
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
import { limits } from '../base/limits.ts';
import type { ToRank } from '../engine/protocol.ts';
import { RankGroup } from './rank-group.ts';

const request: Extract<ToRank, { id: string }> = {
  type: 'logits',
  id: 'a',
  ids: [1],
  last: 1,
  out: '/out',
};

function world(ranks = 3, behave: (rank: FakeRank, message: ToRank) => void = obliging) {
  const clock = new FakeClock();
  const spawner = new FakeSpawner(behave);
  const events: string[] = [];
  const log: string[] = [];
  const group = new RankGroup(
    fakePlan(ranks, 'pipeline'),
    { ...quietParts, spawner, clock, onLog: (line) => log.push(line) },
    {
      onProgress: (done, total) => events.push(`${done} of ${total}`),
      onPong: ({ steps }) => events.push(`steps ${steps}`),
      onFailing: () => events.push('failing'),
    },
  );
  const open = () => group.open(manifestOf('m'), fakeSettings);
  const listen = () => {
    const heard: string[] = [];
    group.request(request, {
      onMessage: ({ type }) => heard.push(type),
      onLost: ({ code }) => heard.push(`lost ${code}`),
    });
    return heard;
  };
  return { clock, spawner, group, events, log, open, listen };
}

function fault(code: string) {
  return { type: 'failed', fault: { code, message: code, hint: null } } as const;
}

describe('opening', () => {
  test('gives each rank its place, and all of them the addresses of all', async () => {
    const { spawner, group, open } = world();
    expect(await open()).toEqual(openedMessage);
    expect(group.members.map(({ pid, state }) => [pid, state])).toEqual([
      [1000, 'ready'],
      [1001, 'ready'],
      [1002, 'ready'],
    ]);
    const addresses = [11_000, 11_001, 11_002].map((port) => ({ host: '127.0.0.1', port }));
    for (const [rank, { received }] of spawner.ranks.entries()) {
      const place = {
        rank,
        ranks: 3,
        split: 'pipeline',
        shares: null,
        backend: 'tcp',
        key: Buffer.alloc(32, 7).toString('base64'),
        host: '127.0.0.1',
        silenceMs: limits.rankStoppedMs,
      };
      expect(received).toEqual([
        { type: 'open', manifest: manifestOf('m'), settings: fakeSettings, group: place },
        { type: 'peers', addresses },
      ]);
    }
  });

  test('waits until every rank has opened, and adds up what they have read', async () => {
    const { spawner, open, events, group } = world(2, () => {});
    let isOpen = false;
    const opening = open().then((opened) => {
      isOpen = true;
      return opened;
    });
    await settled();
    const [first, second] = spawner.ranks;
    const progress = (doneBytes: number) =>
      ({ type: 'progress', stage: 'weights', doneBytes, totalBytes: 10 }) as const;
    first?.say(progress(4));
    expect(events).toEqual([]);
    second?.say(progress(0));
    second?.say(openedMessage);
    await settled();
    expect([isOpen, events]).toEqual([false, ['4 of 20']]);
    expect(group.members.map(({ state }) => state)).toEqual(['starting', 'ready']);
    first?.say(openedMessage);
    expect(await opening).toEqual(openedMessage);
  });

  test('a rank that dies over it ends the others', async () => {
    const { spawner, clock, group, open } = world(3, (rank, message) => {
      if (message.type === 'peers' && rank.pid === 1001)
        rank.end({ code: null, signal: 'SIGKILL' });
      else if (message.type !== 'peers') obliging(rank, message);
    });
    const [opening, lost] = [rejection(open()), group.lost];
    await settled();
    expect((await lost).message).toBe("the model's process ended by SIGKILL");
    expect((await opening).code).toBe('rank_lost');
    expect(spawner.ranks.map(({ signals }) => signals)).toEqual([['SIGTERM'], [], ['SIGTERM']]);
    expect(clock.timers).toBe(0);
  });

  test('a system that has processes for some of them only', async () => {
    const clock = new FakeClock();
    const spawner = new FakeSpawner();
    const limited = {
      spawn: () => {
        spawner.refuses = spawner.ranks.length === 2;
        return spawner.spawn();
      },
    };
    const none = () => {};
    const group = new RankGroup(
      fakePlan(3),
      { ...quietParts, spawner: limited, clock },
      { onProgress: none, onPong: none, onFailing: none },
    );
    const opening = rejection(group.open(manifestOf('m'), fakeSettings));
    expect((await group.lost).code).toBe('rank_start_failed');
    expect((await opening).code).toBe('rank_start_failed');
    expect(spawner.ranks.map(({ gone }) => gone)).toEqual([true, true]);
    expect(clock.timers).toBe(0);
  });
});

describe('a loss', () => {
  test('of any rank is the loss of all, with its reason', async () => {
    for (const rank of [0, 1, 2]) {
      const { spawner, clock, open, listen, group, events } = world();
      await open();
      const heard = listen();
      spawner.ranks[rank]?.end({ code: null, signal: 'SIGSEGV' });
      await settled();
      expect([heard, events]).toEqual([['lost rank_lost'], ['failing']]);
      expect((await group.lost).message).toContain('SIGSEGV');
      expect(spawner.ranks.every(({ gone }) => gone)).toBe(true);
      expect(clock.timers).toBe(0);
    }
  });

  test('told by those that it hits waits for the one whose it is', async () => {
    const { spawner, clock, open, listen, group, events } = world();
    await open();
    const heard = listen();
    const [first, second, third] = spawner.ranks;
    first?.say(fault('group_peer_lost'));
    third?.say(fault('group_peer_lost'));
    await clock.advance(limits.groupCauseMs - 1);
    expect([events, second?.signals]).toEqual([['failing'], []]);
    second?.say(fault('out_of_memory'));
    await settled();
    for (const rank of [first, second, third]) rank?.end({ code: 1, signal: null });
    await settled();
    expect((await group.lost).code).toBe('out_of_memory');
    expect([heard, clock.timers]).toEqual([['lost out_of_memory'], 0]);
  });

  test('of which nobody says the reason ends all the same', async () => {
    const { spawner, clock, open, group } = world();
    await open();
    spawner.ranks[2]?.say(fault('group_silent'));
    spawner.ranks[0]?.say(fault('group_peer_lost'));
    await clock.advance(limits.groupCauseMs);
    expect(spawner.ranks.map(({ signals }) => signals)).toEqual([[], ['SIGTERM'], []]);
    await clock.advance(limits.rankLeaveMs);
    expect((await group.lost).code).toBe('group_silent');
    expect(clock.timers).toBe(0);
  });

  test('ends a rank that SIGTERM does not move', async () => {
    const { spawner, clock, open, group } = world();
    await open();
    const [first, second] = spawner.ranks;
    if (second !== undefined) second.stubborn = true;
    first?.end({ code: 7, signal: null });
    await clock.advance(limits.rankTerminateMs);
    expect(second?.signals).toEqual(['SIGTERM', 'SIGKILL']);
    expect((await group.lost).message).toContain('status 7');
    expect(clock.timers).toBe(0);
  });

  test('of a stopped follower is noticed by its signs of life', async () => {
    const { spawner, clock, open, group } = world();
    const stopped = spawner.ranks[1];
    const giveSigns = () => {
      for (const rank of spawner.ranks) if (rank !== stopped) rank.sign();
      if (spawner.ranks.some(({ gone }) => !gone)) clock.after(500, giveSigns);
    };
    giveSigns();
    stopped?.sign();
    await open();
    await clock.advance(limits.rankStoppedMs - 501);
    expect(spawner.ranks.map(({ signals }) => signals)).toEqual([[], [], []]);
    await clock.advance(1_001);
    expect(spawner.ranks.map(({ signals }) => signals)).toEqual([
      ['SIGTERM'],
      ['SIGKILL'],
      ['SIGTERM'],
    ]);
    expect((await group.lost).code).toBe('rank_stopped');
    await clock.advance(500);
    expect(clock.timers).toBe(0);
  });
});

describe('requests', () => {
  test('go to the first rank, and its reports are told', async () => {
    const { spawner, clock, group, open, listen, events } = world(2, (rank, message) => {
      if (message.type === 'ping') rank.say(pong(message.number, { steps: rank.pid }));
      else obliging(rank, message);
    });
    await open();
    const heard = listen();
    const kinds = spawner.ranks.map(({ received }) => received.map(({ type }) => type));
    expect(kinds).toEqual([
      ['open', 'peers', 'logits'],
      ['open', 'peers'],
    ]);
    spawner.ranks[0]?.say(doneMessage('a'));
    await clock.advance(limits.rankPingMs);
    expect([heard, events]).toEqual([['done'], ['steps 1000']]);
    expect(group.members.map(({ report }) => report?.steps)).toEqual([1000, 1001]);
  });

  test('a cancelled one is not told of the loss', async () => {
    const { spawner, group, open, listen } = world();
    await open();
    const heard = listen();
    spawner.ranks[2]?.say(fault('out_of_memory'));
    group.cancel('a');
    spawner.ranks[2]?.end({ code: 1, signal: null });
    await group.lost;
    await settled();
    expect(heard).toEqual([]);
  });
});

test('closing asks every rank; what they say of each other over it is no news', async () => {
  const { spawner, clock, group, open, events } = world(3, (rank, message) => {
    if (message.type === 'close' && rank.pid !== 1000) rank.say(fault('group_peer_lost'));
    obliging(rank, message);
  });
  await open();
  await group.close();
  expect((await group.lost).code).toBe('instance_stopped');
  expect(spawner.ranks.map(({ signals }) => signals)).toEqual([[], [], []]);
  expect([events, clock.timers]).toEqual([[], 0]);
});

test('a line of a rank names it', async () => {
  const { spawner, log } = world(2);
  for (const rank of spawner.ranks) rank.log('hello');
  const alone = world(1);
  alone.spawner.last.log('hello');
  expect([...log, ...alone.log]).toEqual(['rank 0: hello', 'rank 1: hello', 'hello']);
});
