/**
 * Runs a worker over items, at most `width` at once, in order of the list. The first failure (or
 * the outer signal) aborts the others' signal; all have ended when this settles.
 */
export async function inParallel<Item>(
  items: readonly Item[],
  width: number,
  outer: AbortSignal,
  worker: (item: Item, signal: AbortSignal) => Promise<void>,
): Promise<void> {
  outer.throwIfAborted();
  const controller = new AbortController();
  const onAbort = (): void => controller.abort(outer.reason);
  outer.addEventListener('abort', onAbort);
  const queue = items.toReversed();
  const lane = async (): Promise<void> => {
    for (let item = queue.pop(); item !== undefined; item = queue.pop()) {
      controller.signal.throwIfAborted();
      try {
        await worker(item, controller.signal);
      } catch (error) {
        controller.abort(error);
        throw error;
      }
    }
  };
  try {
    await Promise.allSettled(Array.from({ length: Math.min(width, items.length) }, lane));
    // The signal's reason is the first failure; later ones only followed from it.
    controller.signal.throwIfAborted();
  } finally {
    outer.removeEventListener('abort', onAbort);
  }
}
