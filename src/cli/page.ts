import { readFile } from 'node:fs/promises';

/** The status page: dashboard/index.html of this package, the same from src/cli and dist/cli. */
export function readPage(): Promise<string> {
  return readFile(new URL('../../dashboard/index.html', import.meta.url), 'utf8');
}
