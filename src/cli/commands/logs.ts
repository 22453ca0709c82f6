import { findNode } from '../find-node.ts';
import type { CommandContext } from '../context.ts';
import { readLogFile } from '../log-file.ts';

/** `cidery logs`: of the running node, else what the last one has left in CIDERY_HOME/logs. */
export async function logs(context: CommandContext, count: number): Promise<void> {
  const client = await findNode(context);
  const all = client === null ? await readLogFile(context.home) : await client.logs(context.signal);
  for (const line of all.slice(-count)) {
    context.output.value(line);
    const time = new Date(line.timeMs).toISOString();
    context.output.line(`${time}  ${line.source.padEnd(5)} ${line.text}`);
  }
  if (all.length === 0) context.output.note('nothing has been logged yet');
}
