import { CideryError } from './error.ts';

/**
 * A bounded queue between a producer that cannot wait and one consumer that iterates. When the
 * consumer falls too far behind, the queue fails with `consumer_too_slow` instead of growing.
 */
export class BoundedQueue<Item> implements AsyncIterable<Item> {
  readonly #max: number;
  readonly #items: Item[] = [];
  #ended = false;
  #error: unknown = null;
  #wake: (() => void) | null = null;

  constructor(max: number) {
    this.#max = max;
  }

  /** False when the item was not taken: the queue has ended, failed, or just overflowed. */
  push(item: Item): boolean {
    if (this.#ended || this.#error !== null) return false;
    if (this.#items.length >= this.#max) {
      this.fail(
        new CideryError('consumer_too_slow', `more than ${this.#max} events were not fetched`),
      );
      return false;
    }
    this.#items.push(item);
    this.#signal();
    return true;
  }

  /** What was pushed is still delivered. */
  end(): void {
    this.#ended = true;
    this.#signal();
  }

  /** What was pushed is still delivered, then the consumer gets the error. */
  fail(error: unknown): void {
    if (this.#ended || this.#error !== null) return;
    this.#error = error;
    this.#signal();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Item, void, void> {
    for (;;) {
      const item = this.#items.shift();
      if (item !== undefined) yield item;
      else if (this.#error !== null) throw this.#error;
      else if (this.#ended) return;
      else await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }

  #signal(): void {
    this.#wake?.();
    this.#wake = null;
  }
}
