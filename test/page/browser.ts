import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import { type Browser, type BrowserContext, chromium, type Page } from 'playwright-core';
import { z } from 'zod';

const names = ['chromium', 'chromium-browser', 'google-chrome'];

/** A browser of this machine; null where PATH holds none. */
export const browserPath = findBrowser();
if (browserPath === null) {
  process.stderr.write(`skipped: tests of the page; PATH has none of ${names.join(', ')}\n`);
}

function findBrowser(): string | null {
  const folders = (process.env['PATH'] ?? '').split(delimiter).filter((folder) => folder !== '');
  const paths = names.flatMap((name) => folders.map((folder) => join(folder, name)));
  return paths.find(isExecutable) ?? null;
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** Without a window; it talks to nobody but the pages that it is told to open. */
export function launchBrowser(): Promise<Browser> {
  return chromium.launch({
    executablePath: browserPath ?? '',
    args: ['--disable-background-networking', '--disable-dev-shm-usage', '--no-first-run'],
    timeout: 60_000,
  });
}

/** A page with what it asked for and what it complained about. */
export interface WatchedPage {
  readonly page: Page;
  readonly context: BrowserContext;
  /** Lines of its console that are errors or warnings, and what no one caught. */
  readonly complaints: string[];
  readonly requests: string[];
  /** Sizes of the documents, styles and scripts that came. */
  readonly fileBytes: number[];
}

export async function openPage(
  browser: Browser,
  url: string,
  options: Parameters<Browser['newContext']>[0] = {},
): Promise<WatchedPage> {
  const context = await browser.newContext(options);
  // Other tests may have the processors.
  context.setDefaultTimeout(60_000);
  await context.addInitScript({ path: join(import.meta.dirname, 'in-page/probes.js') });
  const page = await context.newPage();
  const complaints: string[] = [];
  const requests: string[] = [];
  const fileBytes: number[] = [];
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) complaints.push(message.text());
  });
  page.on('pageerror', (error) => complaints.push(String(error)));
  page.on('request', (request) => requests.push(request.url()));
  page.on('requestfinished', async (request) => {
    if (!['document', 'stylesheet', 'script'].includes(request.resourceType())) return;
    fileBytes.push((await request.sizes()).responseBodySize);
  });
  await page.goto(url);
  return { page, context, complaints, requests, fileBytes };
}

const faintSchema = z.object({ texts: z.int(), found: z.array(z.string()) });

/** Texts that are hard to read, and how many were looked at. */
export async function faintTexts(page: Page) {
  return faintSchema.parse(await page.evaluate('faintTexts()'));
}

export async function usableControls(page: Page): Promise<string[]> {
  return z.array(z.string()).parse(await page.evaluate('usableControls()'));
}

/** The control that has the keyboard; null when none has. */
export async function focusedControl(page: Page): Promise<string | null> {
  return z
    .string()
    .nullable()
    .parse(await page.evaluate('focusedControl()'));
}

/** How far the page can be scrolled sideways, in pixels. */
export async function sidewaysPixels(page: Page): Promise<number> {
  const root = 'document.documentElement';
  return z.number().parse(await page.evaluate(`${root}.scrollWidth - ${root}.clientWidth`));
}
