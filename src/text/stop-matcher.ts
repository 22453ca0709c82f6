/**
 * Finds stop strings in a text that comes in pieces. Text is let through as soon as it can no longer be the beginning
 * of a stop string; of several the one that begins first counts, of those the longest.
 */
export class StopMatcher {
  readonly #stops: readonly string[];
  #held = '';

  constructor(stops: readonly string[]) {
    this.#stops = stops;
  }

  /** Text that may be shown, and the stop string when one is complete: what follows it is dropped. */
  push(piece: string): { readonly text: string; readonly stop: string | null } {
    const text = this.#held + piece;
    const found = this.#first(text);
    if (found !== null) {
      this.#held = '';
      return { text: text.slice(0, found.at), stop: found.stop };
    }
    const keep = this.#possibleStart(text);
    this.#held = text.slice(keep);
    return { text: text.slice(0, keep), stop: null };
  }

  /** What was held back and turned out to be no stop string. */
  finish(): string {
    const text = this.#held;
    this.#held = '';
    return text;
  }

  #first(text: string): { at: number; stop: string } | null {
    let best: { at: number; stop: string } | null = null;
    for (const stop of this.#stops) {
      const at = text.indexOf(stop);
      if (at < 0 || (best !== null && at > best.at)) continue;
      if (best === null || at < best.at || stop.length > best.stop.length) best = { at, stop };
    }
    return best;
  }

  /** Where a stop string may have begun that the next piece completes. */
  #possibleStart(text: string): number {
    const longest = this.#stops.reduce((max, stop) => Math.max(max, stop.length), 0);
    for (let at = Math.max(0, text.length - longest + 1); at < text.length; at++) {
      const tail = text.slice(at);
      if (this.#stops.some((stop) => stop.startsWith(tail))) return at;
    }
    return text.length;
  }
}
