import { CideryError } from '../../base/error.ts';
import { limits } from '../../base/limits.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Disk } from '../../ports/disk.ts';
import type { Fetch } from '../../ports/fetch.ts';
import type { TryLock } from '../../ports/lock.ts';
import type { Random } from '../../ports/random.ts';
import type { HubSettings } from './settings.ts';

/** The world as a download sees it. */
export interface HubPorts {
  readonly disk: Disk;
  readonly fetch: Fetch;
  readonly clock: Clock;
  readonly random: Random;
  readonly tryLock: TryLock;
}

/** How hard a download tries; `defaultTuning` unless a test wants it quicker. */
export interface HubTuning {
  readonly stallMs: number;
  readonly stallMinBytes: number;
  readonly progressMinBytes: number;
  readonly maxAttempts: number;
  readonly retryBaseMs: number;
  readonly filesAtOnce: number;
  readonly rangesAtOnce: number;
  readonly rangeBytes: number;
  readonly stateSaveMs: number;
}

export const defaultTuning: HubTuning = {
  stallMs: limits.hubStallMs,
  stallMinBytes: limits.hubStallMinBytes,
  progressMinBytes: limits.hubProgressMinBytes,
  maxAttempts: limits.hubMaxAttempts,
  retryBaseMs: limits.hubRetryBaseMs,
  filesAtOnce: limits.hubFilesAtOnce,
  rangesAtOnce: limits.hubRangesAtOnce,
  rangeBytes: limits.hubRangeBytes,
  stateSaveMs: limits.hubStateSaveMs,
};

/** Everything that a request to the hub needs. */
export interface HubAccess {
  readonly ports: HubPorts;
  readonly settings: HubSettings;
  readonly token: string | null;
  readonly tuning: HubTuning;
}

/** A failure of the hub or of the line to it, and whether another try may end better. */
export class HubError extends CideryError {
  readonly retry: boolean;
  /** How long the hub asked to wait; null when it did not say. */
  readonly retryAfterMs: number | null;

  constructor(
    code: string,
    message: string,
    options: { hint: string; cause?: unknown; retry?: boolean; retryAfterMs?: number | null },
  ) {
    super(code, message, options);
    this.retry = options.retry ?? false;
    this.retryAfterMs = options.retryAfterMs ?? null;
  }
}
