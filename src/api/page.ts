import { Hono } from 'hono';

export interface PageFile {
  readonly contentType: string;
  readonly text: string;
}

/** The page's files by their path in URLs; `/` is the document. */
export type Page = ReadonlyMap<string, PageFile>;

/** The folder of the page's other files; it holds no data, and so needs no key. */
export const pageFolder = '/page/';

/** Nothing but the page's own files is loaded or run, and it talks to its own node alone. */
const headers = {
  'Content-Security-Policy': [
    "default-src 'none'",
    "style-src 'self'",
    "script-src 'self'",
    "connect-src 'self'",
    'img-src data:',
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join('; '),
  'X-Content-Type-Options': 'nosniff',
  'Referrer-Policy': 'no-referrer',
  // The files of two versions of the node must never meet in a browser.
  'Cache-Control': 'no-cache',
};

/** The page: its document at `/`, its styles and scripts under `/page/`. */
export function pageRoutes(page: Page): Hono {
  const routes = new Hono();
  for (const [path, { contentType, text }] of page) {
    routes.get(path, (context) =>
      context.body(text, 200, { ...headers, 'Content-Type': contentType }),
    );
  }
  return routes;
}
