import { appendFileSync, mkdirSync, renameSync, statSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { limits } from '../base/limits.ts';
import { diskError, errnoOf } from '../platform/disk-error.ts';
import type { LogLine } from '../node/log-buffer.ts';

const lineSchema = z.looseObject({ timeMs: z.number(), source: z.string(), text: z.string() });

function logFolder(home: string): string {
  return join(home, 'logs');
}

function logPath(home: string): string {
  return join(logFolder(home), 'node.log');
}

/**
 * Appends lines of the log to `CIDERY_HOME/logs/node.log`, one JSON object each; a file that has
 * reached `limits.logFileMaxBytes` becomes `node.log.1`. A disk that cannot be written to costs the
 * lines and nothing else; `onFailure` hears of it once.
 */
export function logWriter(
  home: string,
  onFailure: (error: unknown) => void,
): (line: LogLine) => void {
  let failed = false;
  let sizeBytes = 0;
  const path = logPath(home);
  const attempt = (work: () => void): void => {
    try {
      if (!failed) work();
    } catch (error) {
      failed = true;
      onFailure(error);
    }
  };
  attempt(() => {
    mkdirSync(logFolder(home), { recursive: true, mode: 0o700 });
    sizeBytes = statSync(path, { throwIfNoEntry: false })?.size ?? 0;
  });
  return (line) =>
    attempt(() => {
      const text = `${JSON.stringify(line)}\n`;
      if (sizeBytes > limits.logFileMaxBytes) {
        renameSync(path, `${path}.1`);
        sizeBytes = 0;
      }
      appendFileSync(path, text, { mode: 0o600 });
      sizeBytes += Buffer.byteLength(text);
    });
}

/** The last lines of the file, as far back as `limits.logFileReadBytes` reach. */
export async function readLogFile(home: string): Promise<LogLine[]> {
  const text = await readTail(logPath(home), limits.logFileReadBytes);
  return text.split('\n').flatMap((line) => {
    const parsed = lineSchema.safeParse(parseOrNull(line));
    return parsed.success ? [parsed.data] : [];
  });
}

/** The end of a file; empty when it is not there. */
async function readTail(path: string, maxBytes: number): Promise<string> {
  let file: FileHandle;
  try {
    file = await open(path, 'r');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR') return '';
    throw diskError(error, path);
  }
  try {
    const { size } = await file.stat();
    const length = Math.min(size, maxBytes);
    const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, size - length);
    return buffer.toString('utf8', 0, bytesRead);
  } finally {
    await file.close();
  }
}

/** A line that was cut, at the start of what was read or by a crash, is left out. */
function parseOrNull(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return null;
  }
}
