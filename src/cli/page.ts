import { readdir, readFile } from 'node:fs/promises';
import { extname } from 'node:path';
import { type Page, pageFolder } from '../api/page.ts';

const contentTypes: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=UTF-8',
  '.css': 'text/css; charset=UTF-8',
  '.js': 'text/javascript; charset=UTF-8',
};

/** The status page: the files of dashboard/ of this package, the same from src/cli and dist/cli. */
export async function readPage(): Promise<Page> {
  const folder = new URL('../../dashboard/', import.meta.url);
  const page = new Map<string, { contentType: string; text: string }>();
  for (const name of await readdir(folder)) {
    const contentType = contentTypes[extname(name)];
    if (contentType === undefined) continue;
    const text = await readFile(new URL(name, folder), 'utf8');
    page.set(name === 'index.html' ? '/' : `${pageFolder}${name}`, { contentType, text });
  }
  return page;
}
