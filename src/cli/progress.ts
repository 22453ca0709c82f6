import { limits } from '../base/limits.ts';
import { formatBytes, formatDuration, type Output } from './output.ts';

/** A bar for something that counts bytes. */
export interface Progress {
  /** `totalBytes` 0 while it is not known; `bytesPerS` null where no rate makes sense. */
  update(doneBytes: number, totalBytes: number, bytesPerS: number | null): void;
  /** Takes the bar away. */
  end(): void;
}

const barWidth = 28;

/**
 * A bar on standard error. On a terminal it is redrawn in place; elsewhere one line says that the
 * work has begun, when its size is known.
 */
export function startProgress(
  label: string,
  output: Output,
  stderr: { write(text: string): unknown; readonly columns?: number },
  monotonic: () => number,
): Progress {
  let drawnAt = Number.NEGATIVE_INFINITY;
  let drawn = false;
  let announced = false;
  return {
    update(doneBytes, totalBytes, bytesPerS) {
      if (!output.interactive) {
        if (!announced && totalBytes > 0) output.note(`${label} (${formatBytes(totalBytes)})`);
        announced ||= totalBytes > 0;
        return;
      }
      const now = monotonic();
      if (now - drawnAt < limits.progressDrawMs && doneBytes < totalBytes) return;
      drawnAt = now;
      drawn = true;
      const line = barLine(label, doneBytes, totalBytes, bytesPerS);
      stderr.write(`\r\u001B[2K${line.slice(0, Math.max(20, (stderr.columns ?? 80) - 1))}`);
    },
    end() {
      if (drawn) stderr.write('\r\u001B[2K');
    },
  };
}

/** `fetching x  [#####.....]  45%  44 MB of 98 MB  8.1 MB/s  7 s left`. */
export function barLine(
  label: string,
  doneBytes: number,
  totalBytes: number,
  bytesPerS: number | null,
): string {
  if (totalBytes <= 0) return `${label}  ${formatBytes(doneBytes)}`;
  const part = Math.min(1, doneBytes / totalBytes);
  const full = Math.round(part * barWidth);
  const bar = `[${'#'.repeat(full)}${'.'.repeat(barWidth - full)}]`;
  const parts = [
    label,
    bar,
    `${Math.floor(part * 100)}%`,
    `${formatBytes(doneBytes)} of ${formatBytes(totalBytes)}`,
  ];
  if (bytesPerS !== null && bytesPerS > 0) {
    const leftMs = ((totalBytes - doneBytes) / bytesPerS) * 1_000;
    parts.push(`${formatBytes(bytesPerS)}/s`, `${formatDuration(Math.max(leftMs, 0))} left`);
  }
  return parts.join('  ');
}
