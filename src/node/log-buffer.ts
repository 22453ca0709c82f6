import type { Clock } from '../ports/clock.ts';

export interface LogLine {
  readonly timeMs: number;
  readonly source: string;
  readonly text: string;
}

/**
 * The last lines of the log, for `cidery logs` and error reports. Prompts and answers are never
 * among them.
 */
export class LogBuffer {
  readonly #max: number;
  readonly #clock: Clock;
  readonly #lines: LogLine[] = [];
  readonly #listeners = new Set<(line: LogLine) => void>();

  constructor(max: number, clock: Clock) {
    this.#max = max;
    this.#clock = clock;
  }

  add(source: string, text: string): void {
    const line = { timeMs: this.#clock.now(), source, text };
    this.#lines.push(line);
    if (this.#lines.length > this.#max) this.#lines.shift();
    for (const listener of this.#listeners) listener(line);
  }

  list(): readonly LogLine[] {
    return this.#lines;
  }

  onLine(listener: (line: LogLine) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}
