import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { ApiClient } from '../api/client.ts';
import { CideryError, errorCode } from '../base/error.ts';
import { limits } from '../base/limits.ts';
import { diskError, errnoOf } from '../platform/disk-error.ts';
import { makeFolder } from '../platform/make-folder.ts';
import { apiKey, type CommandContext } from './context.ts';

/**
 * `CIDERY_HOME/run/node.json` says where the node of this home serves. It holds no key: whoever
 * wants to talk to a node with a key has it in CIDERY_API_KEY.
 */
const runFileSchema = z.looseObject({ url: z.url(), pid: z.int().positive() });
type RunFile = z.infer<typeof runFileSchema>;

export function runFolder(home: string): string {
  return join(home, 'run');
}

function runFilePath(home: string): string {
  return join(runFolder(home), 'node.json');
}

export async function writeRunFile(home: string, facts: RunFile): Promise<void> {
  const path = runFilePath(home);
  try {
    await makeFolder(runFolder(home), 0o700);
    await writeFile(path, `${JSON.stringify(facts)}\n`);
  } catch (error) {
    throw diskError(error, path);
  }
}

export async function removeRunFile(home: string): Promise<void> {
  await rm(runFilePath(home), { force: true });
}

async function readRunFile(home: string): Promise<RunFile | null> {
  const path = runFilePath(home);
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR') return null;
    throw diskError(error, path);
  }
  try {
    return runFileSchema.parse(JSON.parse(text));
  } catch {
    // Half a file: its node died while it wrote.
    return null;
  }
}

/**
 * A client of the node that runs for this home, or null when none does. What a node that was killed
 * has left behind counts as none.
 * Throws `node_silent` when something is there and does not answer.
 */
export async function findNode(context: CommandContext): Promise<ApiClient | null> {
  const facts = await readRunFile(context.home);
  if (facts === null) return null;
  const client = new ApiClient(facts.url, apiKey(context.environment), fetch);
  const timeout = AbortSignal.timeout(limits.healthTimeoutMs);
  try {
    await client.health(AbortSignal.any([timeout, context.signal]));
    return client;
  } catch (error) {
    if (context.signal.aborted) throw context.signal.reason;
    if (errorCode(error) === 'node_unreachable') return null;
    throw new CideryError('node_silent', `the node at ${facts.url} does not answer`, {
      hint: `if it hangs, end process ${facts.pid} and start it again`,
      cause: error,
    });
  }
}

/** As `findNode`, for commands that are about a running node. Throws `node_not_running`. */
export async function requireNode(context: CommandContext): Promise<ApiClient> {
  const client = await findNode(context);
  if (client !== null) return client;
  throw new CideryError('node_not_running', 'no node runs on this machine', {
    hint: 'start one with `cidery start`',
  });
}
