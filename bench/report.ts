import type { Facts } from './machine/facts.ts';
import type { Absence, Figure } from './recorder.ts';
import type { Summary } from './statistics.ts';

export interface Report {
  readonly name: string;
  readonly startedAt: string;
  readonly machine: Facts;
  readonly settings: Readonly<Record<string, unknown>>;
  readonly versions: Readonly<Record<string, string>>;
  readonly figures: readonly Figure[];
  readonly absences: readonly Absence[];
}

const headings = ['case', 'figure', 'subject', 'median', 'spread', 'rounds', 'cidery is'] as const;

/** The report as text: what it ran on, a table, and what is missing and why. */
export function reportText(report: Report): string {
  const rows = report.figures.map(row);
  const lines = [...headLines(report), '', ...tableLines([[...headings], ...rows])];
  if (report.absences.length > 0) lines.push('', 'not measured:');
  for (const { subject, case: name, reason } of report.absences) {
    lines.push(`  ${subject}, ${name}: ${reason}`);
  }
  return `${lines.join('\n')}\n`;
}

function headLines({ name, startedAt, machine, settings, versions }: Report): string[] {
  const pairs = (values: Readonly<Record<string, unknown>>) =>
    Object.entries(values)
      .map(([key, value]) => `${key} ${String(value)}`)
      .join(', ');
  const { processor, cores, flags, memoryBytes, loadBefore, loadAfter, commit } = machine;
  return [
    `${name}, ${startedAt}`,
    `${processor}, ${cores} cores, ${flags.join(' ')}, ${(memoryBytes / 2 ** 30).toFixed(1)} GiB`,
    `load average ${loadBefore.toFixed(2)} before, ${loadAfter.toFixed(2)} after; commit ${commit}`,
    pairs(settings),
    pairs(versions),
  ];
}

function row(figure: Figure): string[] {
  return [
    figure.case,
    figure.unit === '' ? figure.metric : `${figure.metric} (${figure.unit})`,
    figure.subject,
    digits(figure.median),
    `${digits(figure.min)} - ${digits(figure.max)}`,
    `${figure.count}`,
    betterText(figure.cideryIsBetterBy),
  ];
}

function betterText(ratio: Summary | null): string {
  if (ratio === null) return '';
  const { median, min, max } = ratio;
  return `${median.toFixed(2)}x (${min.toFixed(2)} - ${max.toFixed(2)})`;
}

/** Three digits that count, never an exponent. */
export function digits(value: number): string {
  const size = Math.abs(value);
  if (size >= 100 || value === 0) return value.toFixed(0);
  if (size >= 10) return value.toFixed(1);
  return size >= 1 ? value.toFixed(2) : value.toFixed(3);
}

/** Columns as wide as their widest cell; those of numbers are set to the right. */
export function tableLines(rows: readonly (readonly string[])[]): string[] {
  const widths: number[] = [];
  for (const cells of rows) {
    for (const [column, cell] of cells.entries()) {
      widths[column] = Math.max(widths[column] ?? 0, cell.length);
    }
  }
  const rightFrom = 3;
  return rows.map((cells) =>
    cells
      .map((cell, column) => {
        const width = widths[column] ?? 0;
        return column < rightFrom ? cell.padEnd(width) : cell.padStart(width);
      })
      .join('  ')
      .trimEnd(),
  );
}
