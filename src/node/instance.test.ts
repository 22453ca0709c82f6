import { describe, expect, test } from 'vitest';
import { FakeClock, settled } from '../../test/support/fake-clock.ts';
import { fakeInstance, fakePlan } from '../../test/support/fake-instance.ts';
import {
  doneMessage,
  type FakeRank,
  FakeSpawner,
  obliging,
  openedMessage,
  pong,
} from '../../test/support/fake-ranks.ts';
import { rejection } from '../../test/support/rejection.ts';
import { limits } from '../base/limits.ts';
import type { ToRank } from '../engine/protocol.ts';
import type { Instance } from './instance.ts';
import type { RankPlan } from './rank-plan.ts';

const never = new AbortController().signal;

function world(behave: (rank: FakeRank, message: ToRank) => void = obliging, refuses = false) {
  const clock = new FakeClock();
  const spawner = new FakeSpawner(behave);
  spawner.refuses = refuses;
  const states: string[] = [];
  const instance: Instance = fakeInstance({
    spawner,
    clock,
    onChange: () => states.push(instance.state.kind),
  });
  return { clock, spawner, instance, states };
}

function request(instance: Instance, id: string): string[] {
  const heard: string[] = [];
  instance.request(
    { type: 'logits', id, ids: [1], last: 1, out: '/out' },
    {
      onMessage: ({ type }) => heard.push(type),
      onLost: ({ code }) => heard.push(`lost ${code}`),
    },
  );
  return heard;
}

/** Ends while it opens. */
function dying(rank: FakeRank, message: ToRank): void {
  if (message.type === 'open') rank.end({ code: null, signal: 'SIGKILL' });
  else obliging(rank, message);
}

describe('starting', () => {
  test('a rank that dies while it opens is started again, until it is given up', async () => {
    const { instance, spawner, clock, states } = world(dying);
    const refused = rejection(instance.ready(never));
    await clock.advance(limits.instanceStartsMax * limits.instanceRestartDelayMs);
    expect(await refused).toEqual({
      code: 'rank_lost',
      message: "the model's process ended by SIGKILL",
    });
    expect(spawner.ranks.length).toBe(limits.instanceStartsMax);
    const tries = Array.from({ length: limits.instanceStartsMax - 1 }, () => 'starting');
    expect(states).toEqual([...tries, 'failed']);
    expect(clock.timers).toBe(0);
    expect(() => request(instance, 'a')).toThrow(
      expect.objectContaining({ code: 'instance_not_ready' }),
    );
    expect(instance.requests).toBe(0);
  });

  test('one that comes up at a later try is ready, and the count begins anew', async () => {
    const { instance, spawner, clock } = world();
    let tries = 0;
    spawner.behave = (rank, message) => {
      if (message.type === 'open' && ++tries < limits.instanceStartsMax) {
        rank.end({ code: 1, signal: null });
      } else obliging(rank, message);
    };
    for (let round = 0; round < 3; round++) {
      await clock.advance(limits.instanceStartsMax * limits.instanceRestartDelayMs);
      expect(await instance.ready(never)).toEqual(openedMessage);
      await clock.advance(limits.instanceProvenMs);
      tries = 0;
      spawner.last.end({ code: null, signal: 'SIGSEGV' });
      await settled();
      expect(instance.state.kind).toBe('starting');
    }
  });

  test('a rank that dies as soon as it is ready is given up', async () => {
    const { instance, spawner, clock } = world();
    spawner.behave = (rank, message) => {
      obliging(rank, message);
      if (message.type === 'open') queueMicrotask(() => rank.end({ code: 1, signal: null }));
    };
    await clock.advance(2 * limits.instanceStartsMax * limits.instanceRestartDelayMs);
    expect(instance.state).toMatchObject({ kind: 'failed', error: { code: 'rank_lost' } });
    expect(spawner.ranks.length).toBe(limits.instanceStartsMax);
  });

  test('a fault of the model itself is final', async () => {
    const { instance, spawner, clock } = world((rank, message) => {
      if (message.type !== 'open') return;
      rank.say({
        type: 'failed',
        fault: { code: 'model_file_broken', message: 'cut', hint: null },
      });
      rank.end({ code: 1, signal: null });
    });
    expect(await rejection(instance.ready(never))).toEqual({
      code: 'model_file_broken',
      message: 'cut',
    });
    await clock.advance(60_000);
    expect(spawner.ranks.length).toBe(1);
  });

  test('a system that has no process to give is an error, and the daemon lives', async () => {
    const { instance, clock } = world(obliging, true);
    const refused = rejection(instance.ready(never));
    await clock.advance(10_000);
    expect((await refused).code).toBe('rank_start_failed');
    expect([instance.state.kind, instance.members, clock.timers]).toEqual(['failed', [], 0]);
    await instance.stop();
  });

  test('whoever waits may give up, and leaves nothing behind', async () => {
    const { instance, spawner } = world(() => {});
    const stop = new AbortController();
    const refused = instance.ready(stop.signal).catch((error: unknown) => error);
    await settled();
    expect(instance.idle).toBe(false);
    stop.abort('enough');
    expect(await refused).toBe('enough');
    expect(instance.idle).toBe(true);
    spawner.behave = obliging;
    spawner.last.say(openedMessage);
    await settled();
    expect(instance.state.kind).toBe('ready');
  });
});

describe('stopping', () => {
  test('while it starts: whoever waits is told, and nothing is started any more', async () => {
    const { instance, spawner, clock } = world(() => {});
    spawner.last.stubborn = true;
    const refused = rejection(instance.ready(never));
    await settled();
    const stopped = instance.stop();
    expect((await refused).code).toBe('instance_stopped');
    await clock.advance(limits.rankLeaveMs + limits.rankTerminateMs);
    await stopped;
    await clock.advance(60_000);
    expect(spawner.ranks.length).toBe(1);
    expect(spawner.last.gone).toBe(true);
    expect(clock.timers).toBe(0);
  });

  test('between two tries', async () => {
    const { instance, spawner, clock } = world(dying);
    await settled();
    expect([instance.state.kind, spawner.last.gone]).toEqual(['starting', true]);
    await instance.stop();
    await clock.advance(60_000);
    expect([instance.state.kind, spawner.ranks.length, clock.timers]).toEqual(['stopped', 1, 0]);
  });

  test('at the moment in which the model has opened', async () => {
    const { instance, spawner, clock } = world();
    await Promise.resolve();
    spawner.behave = (rank, message) => {
      if (message.type === 'open') {
        rank.say(openedMessage);
        void instance.stop();
      } else obliging(rank, message);
    };
    await clock.advance(60_000);
    expect([instance.state.kind, spawner.last.gone, clock.timers]).toEqual(['stopped', true, 0]);
  });

  test('tells requests under way', async () => {
    const { instance } = world();
    await instance.ready(never);
    const heard = request(instance, 'a');
    await instance.stop();
    expect(heard).toEqual(['lost instance_stopped']);
    expect(instance.requests).toBe(0);
    expect((await rejection(instance.ready(never))).code).toBe('instance_stopped');
  });
});

describe('requests', () => {
  test('a lost rank costs its own requests, and the next one works on a fresh rank', async () => {
    const { instance, spawner, clock } = world();
    await instance.ready(never);
    const all = ['a', 'b', 'c'].map((id) => request(instance, id));
    spawner.last.end({ code: null, signal: 'SIGKILL' });
    await settled();
    expect(all).toEqual([['lost rank_lost'], ['lost rank_lost'], ['lost rank_lost']]);
    await clock.advance(limits.instanceRestartDelayMs);
    await instance.ready(never);
    const heard = request(instance, 'd');
    spawner.last.say(doneMessage('d'));
    expect([heard, instance.requests, spawner.ranks.length]).toEqual([['done'], 0, 2]);
  });

  // What may happen to a request, twice over and in any order: it is counted once.
  const ends: Readonly<Record<string, (instance: Instance, rank: FakeRank) => unknown>> = {
    done: (_, rank) => rank.say(doneMessage('a')),
    reply: (_, rank) => rank.say({ type: 'reply', id: 'a', value: {} }),
    error: (_, rank) =>
      rank.say({ type: 'error', id: 'a', fault: { code: 'c', message: 'm', hint: null } }),
    cancel: (instance) => instance.cancel('a'),
    lost: async (_, rank) => {
      rank.end({ code: null, signal: 'SIGKILL' });
      await settled();
    },
    stop: (instance) => instance.stop(),
  };
  const orders = Object.keys(ends).flatMap((first) =>
    Object.keys(ends).map((second) => [first, second]),
  );
  test.each(orders)('%s and then %s leaves the other request counted', async (...order) => {
    const { instance, spawner } = world();
    await instance.ready(never);
    const heard = request(instance, 'a');
    const rank = spawner.last;
    const other = request(instance, 'b');
    for (const end of order) await ends[end]?.(instance, rank);
    const gone = order.includes('lost') || order.includes('stop');
    expect(instance.requests).toBe(gone ? 0 : 1);
    expect(heard.length).toBe(order[0] === 'cancel' ? 0 : 1);
    expect(other.length).toBe(gone ? 1 : 0);
    await instance.stop();
    expect(instance.requests).toBe(0);
  });

  test('a cancellation that comes from within the last message', async () => {
    const { instance, spawner } = world();
    await instance.ready(never);
    instance.request(
      { type: 'logits', id: 'a', ids: [1], last: 1, out: '/out' },
      { onMessage: () => instance.cancel('a'), onLost: () => instance.cancel('a') },
    );
    spawner.last.say(doneMessage('a'), doneMessage('a'));
    expect(instance.requests).toBe(0);
    expect(spawner.last.received.some(({ type }) => type === 'cancel')).toBe(false);
  });

  test('there is a most of them', async () => {
    const { instance, spawner } = world();
    await instance.ready(never);
    for (let i = 0; i < limits.requestsPerModelMax; i++) request(instance, `r${i}`);
    expect(() => request(instance, 'more')).toThrow(
      expect.objectContaining({ code: 'too_many_requests' }),
    );
    spawner.last.say(doneMessage('r0'));
    request(instance, 'more');
    expect(instance.requests).toBe(limits.requestsPerModelMax);
  });
});

test('what the rank reports is shown, and forgotten with the rank', async () => {
  const { instance, spawner, clock } = world();
  let generated = 0;
  spawner.behave = (rank, message) => {
    if (message.type === 'ping') {
      generated += 10;
      rank.say(pong(message.number, { generatedTokens: generated }));
    } else obliging(rank, message);
  };
  await instance.ready(never);
  await clock.advance(4 * limits.rankPingMs);
  expect(instance.report?.generatedTokens).toBe(40);
  expect(instance.tokensPerS).toBe(10_000 / limits.rankPingMs);
  spawner.last.end({ code: 1, signal: null });
  await settled();
  expect([instance.report, instance.tokensPerS]).toEqual([null, 0]);
});

describe('several ranks', () => {
  /** Three ranks whose processes come and go as `behave` says. */
  function groupWorld(
    behave: (rank: FakeRank, message: ToRank) => void,
    fewer?: (plan: RankPlan) => RankPlan | null,
  ) {
    const clock = new FakeClock();
    const spawner = new FakeSpawner(behave);
    const log: string[] = [];
    const instance = fakeInstance({
      spawner,
      clock,
      plan: fakePlan(3),
      onLog: (line) => log.push(line),
      ...(fewer === undefined ? {} : { fewer }),
    });
    const placesOf = () =>
      spawner.ranks.map(({ received }) => {
        const opening = received.find(({ type }) => type === 'open');
        return opening?.type === 'open' ? `${opening.group?.rank}/${opening.group?.ranks}` : '';
      });
    return { clock, spawner, instance, log, placesOf };
  }

  test('a lost follower costs what the first rank does: all go, all come again', async () => {
    const { instance, spawner, clock, placesOf } = groupWorld(obliging);
    await instance.ready(never);
    const heard = request(instance, 'a');
    spawner.ranks[2]?.end({ code: null, signal: 'SIGKILL' });
    await Promise.resolve();
    await settled();
    expect(heard).toEqual(['lost rank_lost']);
    expect(spawner.ranks.slice(0, 3).map(({ gone }) => gone)).toEqual([true, true, true]);
    await clock.advance(limits.instanceRestartDelayMs);
    await instance.ready(never);
    expect(placesOf()).toEqual(['0/3', '1/3', '2/3', '0/3', '1/3', '2/3']);
    expect(instance.members.map(({ pid }) => pid)).toEqual([1003, 1004, 1005]);
  });

  test('threads that nobody has named are shared, named ones are each rank’s', async () => {
    const threads = async (told: number, cores: number) => {
      const [clock, spawner] = [new FakeClock(), new FakeSpawner()];
      const settings = { threads: told };
      await fakeInstance({ spawner, clock, cores, settings, plan: fakePlan(3) }).ready(never);
      const [opening] = spawner.last.received;
      return opening?.type === 'open' ? opening.settings.threads : null;
    };
    expect([await threads(0, 8), await threads(0, 2), await threads(5, 2)]).toEqual([2, 1, 5]);
  });

  /** Groups of three and two find no processes that live. */
  const needsOne = (rank: FakeRank, message: ToRank) => {
    if (message.type === 'open' && message.group !== null) rank.end({ code: 1, signal: null });
    else obliging(rank, message);
  };

  test('that do not start are tried in smaller numbers', async () => {
    const { instance, clock, log, placesOf } = groupWorld(needsOne, ({ ranks }) =>
      fakePlan(ranks - 1),
    );
    const ready = instance.ready(never);
    await clock.advance(2 * limits.groupStartsMax * limits.instanceRestartDelayMs);
    await ready;
    expect(instance.plan).toEqual(fakePlan(1));
    expect(new Set(placesOf())).toEqual(
      new Set(['0/3', '1/3', '2/3', '0/2', '1/2', 'undefined/undefined']),
    );
    expect(log).toEqual([
      'm: 3 ranks do not start (rank_lost); trying 2',
      'm: 2 ranks do not start (rank_lost); trying 1',
    ]);
  });

  test('are given up where fewer are no way out', async () => {
    const { instance, clock, spawner } = groupWorld(needsOne, () => null);
    const refused = rejection(instance.ready(never));
    await clock.advance(limits.groupStartsMax * limits.instanceRestartDelayMs);
    expect((await refused).code).toBe('rank_lost');
    expect([spawner.ranks.length, clock.timers]).toEqual([3 * limits.groupStartsMax, 0]);
  });

  test.each([
    ['out_of_memory', 1, 'ready'],
    ['insufficient_memory', 1, 'ready'],
    ['model_file_broken', 3, 'failed'],
  ])('a fault of all of them: %s', async (code, ranks, state) => {
    const { instance, clock, spawner } = groupWorld(
      (rank, message) => {
        if (message.type !== 'open' || message.group === null) return obliging(rank, message);
        rank.say({ type: 'failed', fault: { code, message: 'm', hint: null } });
        rank.end({ code: 1, signal: null });
      },
      () => fakePlan(1),
    );
    const settledState = instance.ready(never).catch(() => {});
    await clock.advance(limits.instanceRestartDelayMs);
    await settledState;
    expect([instance.state.kind, instance.plan.ranks]).toEqual([state, ranks]);
    expect(spawner.ranks.length).toBe(state === 'ready' ? 4 : 3);
  });
});
