import { describe, expect, test } from 'vitest';
import { settled } from '../../test/support/fake-clock.ts';
import { fakeInstance } from '../../test/support/fake-instance.ts';
import { FakeClock } from '../../test/support/fake-clock.ts';
import {
  doneMessage,
  type FakeRank,
  FakeSpawner,
  obliging,
} from '../../test/support/fake-ranks.ts';
import { rejection } from '../../test/support/rejection.ts';
import { limits } from '../base/limits.ts';
import type { FromRank, GenerateOptions } from '../engine/protocol.ts';
import { startGeneration } from './generation.ts';

const never = new AbortController().signal;
const options: GenerateOptions = {
  maxTokens: 4,
  ignoreEos: true,
  stop: [],
  choices: 1,
  logprobs: null,
  skipSpecial: true,
  sampling: {
    temperature: 0,
    topP: 1,
    topK: 0,
    minP: 0,
    repetitionPenalty: 1,
    presencePenalty: 0,
    frequencyPenalty: 0,
    seed: '0',
    logitBias: [],
  },
};

async function world() {
  const spawner = new FakeSpawner(obliging);
  const clock = new FakeClock();
  const instance = fakeInstance({ spawner, clock });
  await instance.ready(never);
  const start = (signal = never, id = 'r') =>
    startGeneration(instance, id, { kind: 'ids', ids: [1] }, options, signal);
  /** The rank dies; the next one, when it is ready. */
  const restart = async (rank: FakeRank) => {
    rank.end({ code: null, signal: 'SIGKILL' });
    await clock.advance(limits.instanceRestartDelayMs);
    await settled();
    return spawner.last;
  };
  const cancels = () => spawner.last.received.filter(({ type }) => type === 'cancel').length;
  return { rank: spawner.last, clock, instance, start, restart, cancels };
}

const started: FromRank = { type: 'started', id: 'r', promptIds: [1] };

function delta(token: number): FromRank {
  return { type: 'delta', id: 'r', choice: 0, ids: [token], text: '', logprobs: [] };
}

describe('a generation', () => {
  test('brings its events in order and ends after done', async () => {
    const { rank, instance, start, cancels } = await world();
    const starting = start();
    rank.say(started, delta(1), delta(2), doneMessage('r'), delta(3));
    const generation = await starting;
    expect(generation.promptIds).toEqual([1]);
    const events = [];
    for await (const event of generation.events) events.push(event);
    expect(events).toEqual([delta(1), delta(2), doneMessage('r')]);
    expect([instance.requests, cancels()]).toEqual([0, 0]);
  });

  test('is refused before it begins', async () => {
    const { rank, instance, start } = await world();
    const starting = start();
    const fault = { code: 'prompt_too_long', message: 'too long', hint: null };
    rank.say({ type: 'error', id: 'r', fault });
    expect(await rejection(starting)).toEqual({ code: 'prompt_too_long', message: 'too long' });
    expect(instance.requests).toBe(0);
  });

  test('goes on in the next rank where the lost one left it', async () => {
    const { rank, instance, start, restart } = await world();
    const starting = start();
    rank.say(started, delta(1));
    const { events } = await starting;
    const next = await restart(rank);
    const earlier = { ids: [1], generated: 1, textLength: 0, finished: false };
    expect(next.received.at(-1)).toMatchObject({
      type: 'generate',
      resume: { promptIds: [1], choices: [earlier] },
    });
    next.say(started, delta(2), doneMessage('r'));
    const seen: unknown[] = [];
    for await (const event of events) seen.push(event);
    expect([seen, instance.requests]).toEqual([[delta(1), delta(2), doneMessage('r')], 0]);
  });

  test('that no rank had taken in is sent again as a new one', async () => {
    const { rank, start, restart } = await world();
    const starting = start();
    const next = await restart(rank);
    expect(next.received.at(-1)).toMatchObject({ type: 'generate', resume: null });
    next.say(started, doneMessage('r'));
    expect((await starting).promptIds).toEqual([1]);
  });

  test('over which ranks die without a token runs alone once more, and is given up', async () => {
    const { rank, instance, start, restart } = await world();
    const suspect = start();
    rank.say(started);
    const { events } = await suspect;
    const second = await restart(rank);
    const other = start(never, 'other');
    await settled();
    expect(second.received.at(-1)).toMatchObject({ id: 'other' });
    // The other one is in no doubt yet, and waits.
    const third = await restart(second);
    const sent = third.received.filter(({ type }) => type === 'generate');
    expect(sent).toMatchObject([{ id: 'r' }]);
    const fourth = await restart(third);
    const reading = (async () => {
      for await (const _ of events) expect.unreachable();
    })();
    expect((await rejection(reading)).code).toBe('request_given_up');
    expect(fourth.received.at(-1)).toMatchObject({ type: 'generate', id: 'other' });
    fourth.say({ ...started, id: 'other' }, doneMessage('other'));
    expect((await other).promptIds).toEqual([1]);
    expect(instance.requests).toBe(0);
  });

  test('is cancelled while no rank has it', async () => {
    const { rank, instance, start, clock } = await world();
    const stop = new AbortController();
    const starting = start(stop.signal);
    rank.say(started, delta(1));
    const { events } = await starting;
    rank.end({ code: null, signal: 'SIGKILL' });
    await settled();
    stop.abort('left');
    await clock.advance(limits.instanceRestartDelayMs);
    const read = (async () => {
      for await (const event of events) expect(event).toEqual(delta(1));
    })().catch((error: unknown) => error);
    expect([await read, instance.requests, instance.idle]).toEqual(['left', 0, true]);
  });

  test('is cancelled by whoever leaves its loop', async () => {
    const { rank, instance, start, cancels } = await world();
    const starting = start();
    rank.say(started, delta(1), delta(2));
    for await (const event of (await starting).events) {
      expect(event).toEqual(delta(1));
      break;
    }
    expect([instance.requests, cancels()]).toEqual([0, 1]);
  });

  test.each(['before it is sent', 'before it has begun', 'in the middle', 'after its end'])(
    'is cancelled by its signal %s',
    async (when) => {
      const { rank, instance, start, cancels } = await world();
      const stop = new AbortController();
      if (when === 'before it is sent') stop.abort('left');
      const starting = start(stop.signal);
      const failure = starting.catch((error: unknown) => error);
      if (when === 'before it has begun') stop.abort('left');
      if (when === 'before it is sent' || when === 'before it has begun') {
        expect(await failure).toBe('left');
      } else {
        rank.say(started, delta(1));
        const { events } = await starting;
        if (when === 'after its end') rank.say(doneMessage('r'));
        stop.abort('left');
        const read = (async () => {
          let count = 0;
          for await (const _ of events) count += 1;
          return count;
        })().catch((error: unknown) => error);
        expect(await read).toBe(when === 'in the middle' ? 'left' : 2);
      }
      expect(instance.requests).toBe(0);
      const told = when === 'before it has begun' || when === 'in the middle';
      expect(cancels()).toBe(told ? 1 : 0);
    },
  );

  // The last event that did not fit may be `done`: it has ended already and is counted once.
  test.each([0, 1])('that nobody reads is ended, %s events before its end', async (before) => {
    const { rank, instance, start, cancels } = await world();
    const starting = start();
    rank.say(started);
    const { events } = await starting;
    for (let i = 0; i < limits.generationEventsMax + before; i++) rank.say(delta(1));
    rank.say(doneMessage('r'));
    await settled();
    expect([instance.requests, cancels()]).toEqual([0, before]);
    let count = 0;
    const reading = (async () => {
      for await (const _ of events) count += 1;
    })();
    expect((await rejection(reading)).code).toBe('consumer_too_slow');
    expect(count).toBe(limits.generationEventsMax);
    expect(instance.requests).toBe(0);
  });
});
