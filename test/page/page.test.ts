import type { Browser, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import {
  browserPath,
  faintTexts,
  focusedControl,
  launchBrowser,
  openPage,
  sidewaysPixels,
  usableControls,
  type WatchedPage,
} from './browser.ts';
import { instanceOf, ShownState } from './shown-state.ts';

const takes = `document.title='taken'`;
const hostile = `<img src=x onerror="${takes}"><script>${takes}</script>`;

/** One in every state, with names and numbers that are as long as they come. */
const crowd = [
  instanceOf({
    id: 'split',
    model: `org/${'a-very-long-name-'.repeat(6)}72b-instruct-q4_k_m`,
    plan: {
      kind: 'tensor',
      ranks: 8,
      executor: 'cpu',
      mode: 'precise',
      predicted: {
        memoryBytes: 88e9,
        ranks: Array.from({ length: 8 }, () => ({
          weightBytes: 9e9,
          cacheBytes: 15e8,
          workingBytes: 5e8,
        })),
      },
    },
    ranks: Array.from({ length: 8 }, (_, rank) => ({
      rank,
      node: `a-machine-with-a-long-name-${rank}.local`,
      pid: 4_000_000 + rank,
      state: rank === 7 ? 'lost' : 'ready',
      memoryBytes: 10e9,
    })),
  }),
  instanceOf({
    id: 'loading',
    model: 'org/loading',
    state: 'starting',
    contextLength: null,
    progress: { doneBytes: 5e8, totalBytes: 2e9 },
    ranks: [{ rank: 0, node: 'node-1', pid: null, state: 'starting', memoryBytes: 0 }],
  }),
  instanceOf({
    id: 'failed',
    model: 'org/failed',
    state: 'failed',
    error: { code: 'weights_damaged', message: `${hostile} ${'x'.repeat(200)}` },
    ranks: [{ rank: 0, node: 'node-1', pid: null, state: 'lost', memoryBytes: 0 }],
  }),
];
const onDisk = [
  { id: 'org/idle', state: 'on disk', size_bytes: 5e9 },
  { id: hostile, state: 'on disk', size_bytes: 1e9 },
  { id: 'org/loading', state: 'starting', size_bytes: 2e9 },
];

let browser: Browser;
let shown: ShownState;
let watched: WatchedPage;
let page: Page;

beforeAll(async () => {
  if (browserPath !== null) browser = await launchBrowser();
}, 120_000);
afterAll(() => browser?.close());

// Skipped: there is no browser on this machine; browser.ts prints which it looks for.
describe.skipIf(browserPath === null)('the page shows', { timeout: 120_000 }, () => {
  beforeEach(async () => {
    shown = await ShownState.start();
    shown.models = onDisk;
    watched = await openPage(browser, shown.url);
    ({ page } = watched);
    await page.locator('#connection.up').waitFor();
  }, 120_000);
  afterEach(async () => {
    await watched.context.close();
    await shown.close();
  });

  const article = (model: string) => page.locator('article').filter({ hasText: model });

  test('the node, and what is on disk', async () => {
    await page.getByText('None. The first request to a model loads it').waitFor();
    expect(await page.locator('#nodes').innerText()).toBe(
      'attic cidery 1.2.3 · linux x64 · 8 cores · up for 1 h 2 min\n4.0 GB of 16.0 GB memory free',
    );
    const row = page.locator('#models tr').first();
    expect((await row.innerText()).split(/\s*\t\s*/)).toEqual([
      'org/idle',
      '5.0 GB',
      'on disk',
      'Load',
    ]);
    expect(watched.requests.filter((url) => url.endsWith('/events'))).toHaveLength(1);
    expect(watched.complaints).toEqual([]);
  });

  test('a model as it loads, then ready, then failed, in the same place', async () => {
    const [, loading] = crowd;
    if (loading === undefined) throw new Error('there is none');
    shown.show([loading]);
    const card = article('org/loading');
    await card.getByText('500 MB of 2.0 GB read').waitFor();
    const bar = card.getByRole('progressbar', { name: 'loading org/loading' });
    expect(await bar.getAttribute('value')).toBe('500000000');
    await page.evaluate(`document.querySelector('article').dataset.mark = 'same'`);

    shown.show([instanceOf({ id: 'loading', model: 'org/loading' })]);
    await card.getByText('ready').first().waitFor();
    expect(await bar.isVisible()).toBe(false);
    expect(await card.innerText()).toContain('loaded in 1.23 s');

    const error = { code: 'rank_died', message: 'the process was killed' };
    shown.show([instanceOf({ id: 'loading', model: 'org/loading', state: 'failed', error })]);
    await card.getByText('the process was killed').waitFor();
    expect(await card.getAttribute('data-mark')).toBe('same');
    shown.show([]);
    await card.waitFor({ state: 'detached' });
  });

  test('every rank, and what was predicted beside what was measured', async () => {
    shown.show(crowd);
    const card = article('72b-instruct');
    await card.waitFor();
    const rows = await card.locator('tbody tr').allInnerTexts();
    const expected = Array.from({ length: 8 }, (_, rank) =>
      [
        `${rank}`,
        `a-machine-with-a-long-name-${rank}.local`,
        `${4_000_000 + rank}`,
        rank === 7 ? 'lost' : 'ready',
        '10.0 GB',
      ].join('|'),
    );
    expect(rows.map((row) => row.replaceAll(/\s*\t\s*/g, '|'))).toEqual(expected);
    const text = await card.innerText();
    for (const fact of ['tensor, 8 ranks', 'cpu, precise', '80.0 GB', 'predicted 88.0 GB']) {
      expect(text).toContain(fact);
    }
  });

  test('speed, requests and tokens as they change, and where it runs', async () => {
    const measured = { ...instanceOf().measured, running: 3, waiting: 2, generatedTokens: 12_345 };
    shown.show([instanceOf({ measured: { ...measured, tokensPerS: 98.76 } })]);
    const card = article('org/model');
    await card.getByText('98.8 tok/s').waitFor();
    shown.show([instanceOf({ measured: { ...measured, tokensPerS: 50 } })]);
    await card.getByText('50.0 tok/s').waitFor();
    const text = await card.innerText();
    for (const fact of ['3 running', '2 waiting', '12,345 written']) expect(text).toContain(fact);
    expect(await card.locator('tbody tr').innerText()).toContain('attic');
    const points = await card.locator('polyline').getAttribute('points');
    expect(points?.split(' ')).toHaveLength(2);
  });

  test('names and errors of models as text', async () => {
    shown.show([...crowd, instanceOf({ id: 'hostile', model: hostile })]);
    await article('org/failed').getByText(hostile).waitFor();
    await page.getByRole('heading', { name: hostile }).waitFor();
    await page.locator('#models').getByText(hostile).waitFor();
    await page.locator('#model').selectOption(hostile);
    expect(await page.locator('#api-example').innerText()).toContain('onerror');
    expect(await page.locator('img, body script').count()).toBe(0);
    expect([await page.title(), watched.complaints]).toEqual(['cidery', []]);
  });

  test('what fits a narrow screen', async () => {
    shown.show(crowd);
    await article('org/failed').waitFor();
    for (const summary of await page.locator('summary').all()) await summary.click();
    for (const width of [1_280, 390, 320]) {
      await page.setViewportSize({ width, height: 844 });
      expect([width, await sidewaysPixels(page)]).toEqual([width, 0]);
    }
  });

  test.each(['light', 'dark'] as const)('text that can be read: %s', async (colorScheme) => {
    await page.emulateMedia({ colorScheme });
    shown.show(crowd);
    await article('org/failed').waitFor();
    shown.answer = '# sky\n\n- `blue`\n\n```\nscattered\n```';
    await page.locator('#prompt').press('Enter');
    await page
      .locator('.assistant')
      .getByText(/\d tokens/)
      .waitFor();
    for (const summary of await page.locator('summary').all()) await summary.click();
    const { texts, found } = await faintTexts(page);
    expect(found).toEqual([]);
    expect(texts).toBeGreaterThan(100);
  });

  test('every control to a keyboard, in the order of the page', async () => {
    shown.show(crowd);
    await article('org/failed').waitFor();
    await page.locator('#models').getByText('org/idle').waitFor();
    const expected = await usableControls(page);
    expect(expected.length).toBeGreaterThan(10);
    const reached: string[] = [];
    for (let presses = 0; presses < 3 * expected.length; presses++) {
      await page.keyboard.press('Tab');
      const name = await focusedControl(page);
      if (name !== null && expected.includes(name) && !reached.includes(name)) reached.push(name);
    }
    expect(reached).toEqual(expected);
  });

  test('what has the keyboard, through every update', async () => {
    shown.show([instanceOf()]);
    const button = page.getByRole('button', { name: 'Unload org/model' });
    await button.focus();
    shown.show([instanceOf({ id: 'other', model: 'org/other' }), instanceOf({ contextLength: 1 })]);
    await article('org/other').waitFor();
    shown.show([instanceOf({ contextLength: 2 })]);
    await article('org/other').waitFor({ state: 'detached' });
    expect(await focusedControl(page)).toBe('Unload org/model');
  });

  test('a few small files', async () => {
    const files = watched.requests.filter((url) => /:\d+\/(?:page\/.*)?$/.test(url));
    expect(files.length).toBeGreaterThan(2);
    expect(files.length).toBeLessThanOrEqual(12);
    await expect.poll(() => watched.fileBytes.length, { timeout: 30_000 }).toBe(files.length);
    expect(watched.fileBytes.reduce((sum, size) => sum + size, 0)).toBeLessThan(50_000);
  });
});
