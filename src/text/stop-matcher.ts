/**
 * Finds stop strings in a text that comes in pieces. Text is let through as soon as it can no
 * longer be the beginning of a stop string. Of several the one that is complete first counts, of
 * those that end together the longest: so the answer does not depend on how the text was cut into
 * pieces.
 */
export class StopMatcher {
  readonly #patterns: readonly Pattern[];
  #held = '';

  /** Empty stop strings are left out: every text begins with one. */
  constructor(stops: readonly string[]) {
    this.#patterns = stops.filter((stop) => stop !== '').map((stop) => new Pattern(stop));
  }

  /**
   * Text that may be shown, and the stop string when one is complete: what follows it is dropped,
   * and nothing may be pushed after it.
   */
  push(piece: string): { readonly text: string; readonly stop: string | null } {
    const text = this.#held + piece;
    const before = this.#held.length;
    for (let at = 0; at < piece.length; at += 1) {
      const unit = piece.charAt(at);
      let found = '';
      for (const pattern of this.#patterns) {
        if (pattern.advance(unit) && pattern.stop.length > found.length) found = pattern.stop;
      }
      if (found === '') continue;
      this.#held = '';
      return { text: text.slice(0, before + at + 1 - found.length), stop: found };
    }
    const keep = Math.max(0, ...this.#patterns.map((pattern) => pattern.matched));
    this.#held = text.slice(text.length - keep);
    return { text: text.slice(0, text.length - keep), stop: null };
  }

  /** What was held back and turned out to be no stop string. */
  finish(): string {
    const text = this.#held;
    this.#held = '';
    return text;
  }
}

/** One string to find (Knuth, Morris and Pratt's automaton). */
class Pattern {
  readonly stop: string;
  /** How much of the string's beginning the text ends with. */
  matched = 0;
  /** For each length of a match the next shorter one that the text then ends with. */
  readonly #shorter: number[] = [0, 0];

  constructor(stop: string) {
    this.stop = stop;
    for (let length = 1; length < stop.length; length += 1) {
      this.#shorter.push(this.#next(stop.charAt(length), this.#shorter[length] ?? 0));
    }
  }

  /** Takes a unit of the text; true when the string is complete with it. */
  advance(unit: string): boolean {
    this.matched = this.#next(unit, this.matched);
    return this.matched === this.stop.length;
  }

  #next(unit: string, matched: number): number {
    let length = matched;
    while (length > 0 && this.stop.charAt(length) !== unit) length = this.#shorter[length] ?? 0;
    return this.stop.charAt(length) === unit ? length + 1 : 0;
  }
}
