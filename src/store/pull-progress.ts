import { limits } from '../base/limits.ts';
import { Rate } from '../base/rate.ts';
import type { Clock } from '../ports/clock.ts';

/** What a pull tells while it runs. */
export type PullEvent =
  | {
      readonly kind: 'listed';
      readonly files: number;
      readonly totalBytes: number;
      /** What is not on this disk yet. */
      readonly missingBytes: number;
    }
  | {
      readonly kind: 'progress';
      /** The file that moved last. */
      readonly file: string;
      readonly fileBytes: number;
      readonly fileTotalBytes: number;
      readonly bytes: number;
      readonly totalBytes: number;
      readonly bytesPerS: number;
    }
  | {
      readonly kind: 'file';
      readonly file: string;
      /** `cached`: it was here; `waiting`: another process is fetching it. */
      readonly state: 'cached' | 'waiting' | 'fetching' | 'verifying' | 'done';
    }
  | {
      readonly kind: 'retry';
      readonly file: string;
      readonly attempt: number;
      readonly waitMs: number;
      readonly code: string;
    };

export type OnPullEvent = (event: PullEvent) => void;

/**
 * Counts bytes over all files and tells of them at most `progressIntervalMs` apart, and at each
 * file's end.
 */
export class PullProgress {
  readonly #clock: Clock;
  readonly #onEvent: OnPullEvent;
  readonly #totals: ReadonlyMap<string, number>;
  readonly #bytes = new Map<string, number>();
  readonly #totalBytes: number;
  readonly #rate = new Rate(limits.progressRateWindowMs);
  #received = 0;
  #toldAtMs = Number.NEGATIVE_INFINITY;

  constructor(clock: Clock, onEvent: OnPullEvent, totals: ReadonlyMap<string, number>) {
    this.#clock = clock;
    this.#onEvent = onEvent;
    this.#totals = totals;
    this.#totalBytes = [...totals.values()].reduce((sum, bytes) => sum + bytes, 0);
  }

  /** Bytes of a file that are on this disk now, whether they came today or not. */
  setBytes(file: string, bytes: number): void {
    this.#bytes.set(file, bytes);
  }

  received(file: string, bytes: number): void {
    this.#bytes.set(file, (this.#bytes.get(file) ?? 0) + bytes);
    this.#received += bytes;
    const fileBytes = this.#bytes.get(file);
    const isDue = this.#clock.monotonic() - this.#toldAtMs >= limits.progressIntervalMs;
    if (isDue || fileBytes === this.#totals.get(file)) this.#tell(file);
  }

  event(event: PullEvent): void {
    this.#onEvent(event);
  }

  #tell(file: string): void {
    const nowMs = this.#clock.monotonic();
    this.#toldAtMs = nowMs;
    this.#rate.add(nowMs, this.#received);
    this.#onEvent({
      kind: 'progress',
      file,
      fileBytes: this.#bytes.get(file) ?? 0,
      fileTotalBytes: this.#totals.get(file) ?? 0,
      bytes: [...this.#bytes.values()].reduce((sum, bytes) => sum + bytes, 0),
      totalBytes: this.#totalBytes,
      bytesPerS: Math.round(this.#rate.perSecond()),
    });
  }
}
