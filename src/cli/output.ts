/** Where a command's answers and its progress go. */
export interface Output {
  /** True when standard output carries JSON and nothing else. */
  readonly json: boolean;
  /** True when a person watches standard error: bars and hints are drawn only then. */
  readonly interactive: boolean;
  /** A line on standard output, unless it carries JSON. */
  line(text: string): void;
  /** Text as it is on standard output, unless it carries JSON. */
  text(text: string): void;
  /** One JSON value, on a line of its own, where standard output carries JSON. */
  value(value: unknown): void;
  /** A line on standard error: progress and remarks. */
  note(text: string): void;
}

/** The part of a stream that is used here. */
interface Sink {
  write(text: string): unknown;
  readonly isTTY?: boolean;
}

export function createOutput(json: boolean, stdout: Sink, stderr: Sink): Output {
  const write = (text: string): void => {
    if (!json) stdout.write(text);
  };
  return {
    json,
    interactive: stderr.isTTY === true,
    line: (text) => write(`${text}\n`),
    text: write,
    value: (value) => {
      if (json) stdout.write(`${JSON.stringify(value)}\n`);
    },
    note: (text) => void stderr.write(`${text}\n`),
  };
}

/** Rows under their heads, columns as wide as their longest cell. */
export function table(heads: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [heads, ...rows];
  const widths = heads.map((_, column) =>
    Math.max(...all.map((row) => (row[column] ?? '').length)),
  );
  const text = (row: readonly string[]) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd();
  return all.map(text).join('\n');
}

/** `1.5 GB`: decimal units, as disks and downloads are sold. */
export function formatBytes(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let value = bytes;
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1_000;
    unit += 1;
  }
  const digits = unit === 0 || value >= 99.5 ? 0 : 1;
  return `${value.toFixed(digits)} ${units[unit]}`;
}

/** `850 ms`, `12.3 s`, `4 min 10 s`, `3 h 5 min`. */
export function formatDuration(ms: number): string {
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  const s = ms / 1_000;
  if (s < 60) return `${s.toFixed(1)} s`;
  const whole = Math.round(s);
  if (whole < 3_600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3_600)} h ${Math.floor((whole % 3_600) / 60)} min`;
}
