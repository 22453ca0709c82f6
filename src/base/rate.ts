/** The rate of a growing count over the last `windowMs`, from samples taken now and then. */
export class Rate {
  readonly #windowMs: number;
  #samples: { atMs: number; count: number }[] = [];

  constructor(windowMs: number) {
    this.#windowMs = windowMs;
  }

  add(atMs: number, count: number): void {
    this.#samples.push({ atMs, count });
    this.#samples = this.#samples.filter((sample) => sample.atMs >= atMs - this.#windowMs);
  }

  /** Counts a second; 0 while there are fewer than two samples. */
  perSecond(): number {
    const [first, last] = [this.#samples[0], this.#samples.at(-1)];
    if (first === undefined || last === undefined || last.atMs <= first.atMs) return 0;
    return ((last.count - first.count) / (last.atMs - first.atMs)) * 1_000;
  }
}
