import type { RankProcess, RankSpawner } from '../ports/spawner.ts';

/**
 * A spawner that can have a process started before anybody asks for it: a rank takes a while to be
 * there, and what it is to load can be looked at meanwhile.
 */
export class AheadSpawner implements RankSpawner {
  readonly #spawner: RankSpawner;
  #ahead: RankProcess | null = null;

  constructor(spawner: RankSpawner) {
    this.#spawner = spawner;
  }

  /** Starts the process that the next `spawn` returns. */
  startAhead(): void {
    try {
      this.#ahead ??= this.#spawner.spawn();
    } catch {
      // Whoever needs one tries again, and is told why there is none.
    }
  }

  spawn(): RankProcess {
    const ahead = this.#ahead;
    this.#ahead = null;
    return ahead ?? this.#spawner.spawn();
  }

  /** Ends a process that nobody has asked for. */
  async close(): Promise<void> {
    const unused = this.#ahead;
    this.#ahead = null;
    unused?.kill('SIGKILL');
    await unused?.exited;
  }
}
