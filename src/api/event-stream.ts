import { CideryError } from '../base/error.ts';
import { limits } from '../base/limits.ts';
import type { Clock } from '../ports/clock.ts';

/**
 * A response body of server-sent events out of `frames` (each complete, with its blank line). The next frame is
 * fetched when the client has taken the last one; a client that takes none for `limits.clientStallMs`, or leaves, ends
 * the stream through `stop`. Between frames that are long in coming, a comment keeps proxies from closing.
 */
export function eventStream(
  frames: AsyncIterator<string>,
  clock: Clock,
  stop: (reason: CideryError) => void,
): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder();
  let pending: Promise<IteratorResult<string>> | null = null;
  let stopWatching = () => {};
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        stopWatching();
        pending ??= frames.next();
        const next = await within(pending, limits.keepAliveMs, clock);
        if (next === null) controller.enqueue(encoder.encode(': still here\n\n'));
        else {
          pending = null;
          if (next.done === true) return controller.close();
          controller.enqueue(encoder.encode(next.value));
        }
        stopWatching = clock.after(limits.clientStallMs, () => {
          const reason = new CideryError('client_stalled', 'the client does not read its answer');
          stop(reason);
          controller.error(reason);
        });
      },
      cancel() {
        stopWatching();
        stop(new CideryError('cancelled', 'the client has left'));
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
