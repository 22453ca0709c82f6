import { writeFile } from 'node:fs/promises';
import { diskError } from '../../platform/disk-error.ts';
import type { CommandContext } from '../context.ts';
import { type Finding, findings } from '../doctor-checks.ts';
import { AlreadyReported } from '../report-error.ts';
import { version } from '../../node/version.ts';

/** `cidery doctor`: every check with its result and what to do; status 1 when one has failed. */
export async function doctor(context: CommandContext, report: string | null): Promise<void> {
  const found: Finding[] = [];
  for await (const finding of findings(context)) {
    found.push(finding);
    for (const line of findingLines(finding)) context.output.line(line);
  }
  const failed = found.some(({ result }) => result === 'fail');
  const value = { ok: !failed, version: version(), checks: found };
  context.output.value(value);
  if (report !== null) await writeReport(report, value);
  if (failed) throw new AlreadyReported('a check has failed');
}

function findingLines({ name, result, detail, action }: Finding): string[] {
  const line = `${result.padEnd(4)}  ${name.padEnd(14)} ${detail}`;
  return action === null ? [line] : [line, `      ${' '.repeat(14)} -> ${action}`];
}

async function writeReport(path: string, value: object): Promise<void> {
  try {
    await writeFile(path, `${JSON.stringify(value, null, 2)}\n`);
  } catch (error) {
    throw diskError(error, path);
  }
}
