import { describe, expect, test } from 'vitest';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { limits } from '../base/limits.ts';
import { eventStream, jsonEvent } from './event-stream.ts';

const text = (bytes: Uint8Array | undefined) => new TextDecoder().decode(bytes);

describe('a stream of events', () => {
  test('fetches a frame only when the client has taken the last one', async () => {
    let fetched = 0;
    async function* frames() {
      while (fetched < 3) {
        fetched += 1;
        yield jsonEvent(fetched);
      }
    }
    const reader = eventStream(frames(), new FakeClock(), () => {}).getReader();
    expect(fetched).toBe(0);
    expect(text((await reader.read()).value)).toBe('data: 1\n\n');
    expect(fetched).toBe(1);
    await reader.read();
    await reader.read();
    expect((await reader.read()).done).toBe(true);
  });

  test('says now and then that it is alive, and loses nothing by it', async () => {
    const clock = new FakeClock();
    let arrive: () => void = () => {};
    async function* frames() {
      await new Promise<void>((resolve) => (arrive = resolve));
      yield jsonEvent('late', 'name');
    }
    const reader = eventStream(frames(), clock, () => {}).getReader();
    for (let round = 0; round < 2; round++) {
      const next = reader.read();
      await clock.advance(limits.keepAliveMs);
      expect(text((await next).value)).toMatch(/^:.*\n\n$/);
    }
    const next = reader.read();
    arrive();
    expect(text((await next).value)).toBe('event: name\ndata: "late"\n\n');
    expect((await reader.read()).done).toBe(true);
    expect(clock.timers).toBe(0);
  });

  test.each(['while it waits', 'between two frames'])(
    'a client that leaves %s ends the frames',
    async (when) => {
      const stop = new AbortController();
      let cleaned = false;
      async function* frames() {
        try {
          yield 'a';
          await new Promise<void>((resolve) => {
            stop.signal.addEventListener('abort', () => resolve());
          });
          yield 'too late';
        } finally {
          cleaned = true;
        }
      }
      const reader = eventStream(frames(), new FakeClock(), (reason) =>
        stop.abort(reason),
      ).getReader();
      await reader.read();
      const waiting = when === 'while it waits' ? reader.read() : null;
      await reader.cancel();
      expect(cleaned).toBe(true);
      expect(stop.signal.reason).toMatchObject({ code: 'cancelled' });
      expect(await waiting).toEqual(waiting === null ? null : { done: true, value: undefined });
    },
  );
});
