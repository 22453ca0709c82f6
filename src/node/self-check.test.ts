import { describe, expect, test } from 'vitest';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { fakeInstance, fakePlan } from '../../test/support/fake-instance.ts';
import { checkReply, type FakeRank, FakeSpawner, obliging } from '../../test/support/fake-ranks.ts';
import { rejection } from '../../test/support/rejection.ts';
import { limits } from '../base/limits.ts';
import type { EngineSettings, ToRank } from '../engine/protocol.ts';
import { KnownAnswers } from './self-check.ts';

const never = new AbortController().signal;

interface Given {
  ids: number[];
  logits: string;
}

/** Instances of one daemon; `given` is what their ranks answer from now on. */
function world() {
  const knownAnswers = new KnownAnswers();
  const given: Given = { ids: [4, 5, 6], logits: 'same' };
  const asked: Extract<ToRank, { type: 'check' }>[] = [];
  const behave = (rank: FakeRank, message: ToRank) => {
    if (message.type !== 'check') return obliging(rank, message);
    asked.push(message);
    rank.say({ type: 'reply', id: message.id, value: { ...given } });
  };
  /** `ready`, or the code of what ended it. */
  const run = async (settings: Partial<EngineSettings> = {}, ranks = 1) => {
    const clock = new FakeClock();
    const spawner = new FakeSpawner(behave);
    const plan = fakePlan(ranks);
    const instance = fakeInstance({ spawner, clock, knownAnswers, settings, plan });
    const outcome = instance.ready(never).then(
      () => 'ready',
      (error: { code: string }) => error.code,
    );
    await clock.advance(limits.instanceStartsMax * limits.instanceRestartDelayMs * 2);
    return outcome;
  };
  return { given, asked, run };
}

describe('an instance answers what is known before it is ready', () => {
  test('with ids that its vocabulary has', async () => {
    const { asked, run } = world();
    expect(await run()).toBe('ready');
    expect(asked).toEqual([
      { type: 'check', id: 'check', ids: [1, 9, 21, 3, 9, 43, 7, 11], tokens: 3 },
    ]);
  });

  test.each<[string, Partial<Given>, Partial<EngineSettings>, string]>([
    ['the same', {}, {}, 'ready'],
    ['other ids', { ids: [4, 5, 7] }, {}, 'selftest_failed'],
    ['other logits', { logits: 'other' }, {}, 'selftest_failed'],
    ['other logits in the other mode', { logits: 'other' }, { precise: false }, 'ready'],
  ])('%s than before', async (_, changes, settings, outcome) => {
    const { given, run } = world();
    expect(await run()).toBe('ready');
    Object.assign(given, changes);
    expect(await run(settings)).toBe(outcome);
  });

  test('the bits of mlx are its own, the ids are not', async () => {
    const { given, run } = world();
    expect(await run({ executor: 'mlx' })).toBe('ready');
    given.logits = 'other';
    expect(await run({ executor: 'mlx' })).toBe('ready');
    given.ids = [1, 2, 3];
    expect(await run({ executor: 'mlx' })).toBe('selftest_failed');
  });

  test('a split changes no bit in precise mode, and may in the other', async () => {
    const { given, run } = world();
    expect([await run(), await run({ precise: false })]).toEqual(['ready', 'ready']);
    given.logits = 'of two ranks';
    expect(await run({ precise: false }, 2)).toBe('ready');
    expect(await run({}, 2)).toBe('selftest_failed');
  });

  test('what was held against an instance that is given up is forgotten with it', async () => {
    const { given, run } = world();
    given.logits = 'wrong, by a bit that fell over';
    expect(await run()).toBe('ready');
    given.logits = 'right';
    expect(await run()).toBe('selftest_failed');
    expect(await run()).toBe('ready');
  });
});

test('an attempt that answers wrongly is one that failed: the next may do better', async () => {
  const clock = new FakeClock();
  const answers = [
    [1, 2, 3],
    [1, 2, 9],
    [1, 2, 3],
  ];
  const spawner = new FakeSpawner((rank, message) => {
    if (message.type === 'check') rank.say(checkReply(message.id, answers.shift() ?? []));
    else obliging(rank, message);
  });
  const instance = fakeInstance({ spawner, clock, plan: fakePlan(2) });
  await instance.ready(never);
  spawner.last.end({ code: 1, signal: null });
  await clock.advance(limits.instanceRestartDelayMs);
  expect([instance.state.kind, spawner.ranks.length]).toEqual(['starting', 4]);
  await clock.advance(limits.instanceRestartDelayMs);
  expect([instance.state.kind, spawner.ranks.length]).toEqual(['ready', 6]);
  expect(spawner.ranks.map(({ gone }) => gone)).toEqual([true, true, true, true, false, false]);
});

test('a rank that answers something else is one that failed', async () => {
  const clock = new FakeClock();
  const spawner = new FakeSpawner((rank, message) => {
    if (message.type === 'check') rank.say({ type: 'reply', id: message.id, value: { ids: 1 } });
    else obliging(rank, message);
  });
  const refused = rejection(fakeInstance({ spawner, clock }).ready(never));
  await clock.advance(limits.instanceStartsMax * limits.instanceRestartDelayMs);
  expect((await refused).code).toBe('rank_protocol');
});
