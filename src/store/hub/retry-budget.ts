import { limits } from '../../base/limits.ts';
import { type HubAccess, HubError } from './access.ts';

export interface RetryNotice {
  readonly attempt: number;
  readonly waitMs: number;
  readonly code: string;
}

/**
 * The waits between the tries of one thing: doubled each time, with half of each left to chance so
 * that ranges that failed together do not come back together. A try that got on makes the budget
 * whole again.
 */
export class RetryBudget {
  readonly #access: HubAccess;
  readonly #onRetry: (notice: RetryNotice) => void;
  #failures = 0;
  #received = 0;

  constructor(access: HubAccess, onRetry: (notice: RetryNotice) => void) {
    this.#access = access;
    this.#onRetry = onRetry;
  }

  /** Counts new bytes of the try that is under way. */
  received(bytes: number): void {
    this.#received += bytes;
  }

  /** Waits before the next try, or throws the error when there is to be none. */
  async waitAfter(error: unknown, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (!(error instanceof HubError) || !error.retry) throw error;
    if (this.#received >= this.#access.tuning.progressMinBytes) this.#failures = 0;
    this.#received = 0;
    this.#failures++;
    if (this.#failures >= this.#access.tuning.maxAttempts) throw error;
    const waitMs = error.retryAfterMs ?? this.#backoffMs();
    if (waitMs > limits.hubRetryAfterMaxMs) throw error;
    this.#onRetry({ attempt: this.#failures, waitMs, code: error.code });
    await this.#access.ports.clock.sleep(waitMs, signal);
  }

  #backoffMs(): number {
    const full = this.#access.tuning.retryBaseMs * 2 ** (this.#failures - 1);
    return Math.min(full, limits.hubRetryMaxMs) * (0.5 + this.#access.ports.random() / 2);
  }
}

/** Tries an action until it ends or the budget does. */
export async function withRetries<T>(
  access: HubAccess,
  signal: AbortSignal,
  onRetry: (notice: RetryNotice) => void,
  action: () => Promise<T>,
): Promise<T> {
  const budget = new RetryBudget(access, onRetry);
  for (;;) {
    try {
      return await action();
    } catch (error) {
      await budget.waitAfter(error, signal);
    }
  }
}
