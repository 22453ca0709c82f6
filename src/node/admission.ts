/**
 * Who may have a request in an instance: everybody at once, or somebody alone. Whoever wants to be
 * alone waits until the others have left, and nobody enters meanwhile.
 */
export class Admission {
  readonly #waiting: { readonly alone: boolean; readonly admit: () => void }[] = [];
  #inside = 0;
  #alone = false;

  /** The way out again, to be called once or more; null when there is a wait. */
  tryEnter(): (() => void) | null {
    return this.#alone || this.#waiting.length > 0 ? null : this.#enter(false);
  }

  /** Resolves with the way out again; rejects by the signal. */
  async enter(alone: boolean, signal: AbortSignal): Promise<() => void> {
    signal.throwIfAborted();
    return new Promise((resolve, reject) => {
      const entry = {
        alone,
        admit: () => {
          signal.removeEventListener('abort', onAbort);
          resolve(this.#enter(alone));
        },
      };
      const onAbort = () => {
        const at = this.#waiting.indexOf(entry);
        if (at >= 0) this.#waiting.splice(at, 1);
        this.#next();
        reject(signal.reason);
      };
      signal.addEventListener('abort', onAbort, { once: true });
      this.#waiting.push(entry);
      this.#next();
    });
  }

  #enter(alone: boolean): () => void {
    let left = false;
    this.#inside += 1;
    this.#alone = alone;
    return () => {
      if (left) return;
      left = true;
      this.#inside -= 1;
      if (alone) this.#alone = false;
      this.#next();
    };
  }

  /** Admits those in front, in their order, as long as they may. */
  #next(): void {
    for (;;) {
      const first = this.#waiting[0];
      if (first === undefined || this.#alone || (first.alone && this.#inside > 0)) return;
      this.#waiting.shift();
      first.admit();
    }
  }
}
