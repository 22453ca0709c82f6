import { CideryError } from '../base/error.ts';
import { limits } from '../base/limits.ts';
import type { Clock } from '../ports/clock.ts';

/**
 * A response body of server-sent events out of `frames` (each complete, with its blank line). The
 * next frame is fetched when the client has taken the last one. A client that leaves, or that the
 * listener cuts off because it reads nothing (`limits.clientStallMs`), ends the stream through
 * `stop` and the frames' own clean-up. Between frames that are long in coming, a comment keeps
 * proxies from closing.
 */
export function eventStream(
  frames: AsyncGenerator<string, void, void>,
  clock: Clock,
  stop: (reason: CideryError) => void,
): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder();
  let pending: Promise<IteratorResult<string, void>> | null = null;
  let left = false;
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        pending ??= frames.next();
        const next = await within(pending, limits.keepAliveMs, clock);
        if (left) return;
        if (next === null) {
          controller.enqueue(encoder.encode(': still here\n\n'));
          return;
        }
        pending = null;
        if (next.done === true) controller.close();
        else controller.enqueue(encoder.encode(next.value));
      },
      async cancel() {
        left = true;
        stop(new CideryError('cancelled', 'the client has left'));
        await frames.return();
      },
    },
    { highWaterMark: 0 },
  );
}

/** The promise's value, or null when it takes longer. */
async function within<Value>(
  promise: Promise<Value>,
  ms: number,
  clock: Clock,
): Promise<Value | null> {
  let cancel = () => {};
  const late = new Promise<null>((resolve) => (cancel = clock.after(ms, () => resolve(null))));
  try {
    return await Promise.race([promise, late]);
  } finally {
    cancel();
  }
}

/** One event with a JSON value; `event` names it where the form has names. */
export function jsonEvent(value: unknown, event?: string): string {
  const name = event === undefined ? '' : `event: ${event}\n`;
  return `${name}data: ${JSON.stringify(value)}\n\n`;
}
