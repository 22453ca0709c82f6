/** Time comes in through this, so that tests can hold and advance it. */
export interface Clock {
  /** Milliseconds since the epoch. */
  now(): number;
  /** Milliseconds from an arbitrary start that never go back. */
  monotonic(): number;
  /** Resolves after `ms`; rejects with the signal's reason when it is aborted first. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
  /**
   * Calls back after `ms` unless the returned function is called first. Does not keep the process
   * alive.
   */
  after(ms: number, callback: () => void): () => void;
}
