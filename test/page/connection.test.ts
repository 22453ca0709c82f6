import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { echoModel, serveNode } from '../support/served-node.ts';
import { browserPath, launchBrowser, openPage } from './browser.ts';
import { instanceOf, ShownState } from './shown-state.ts';

let browser: Browser;

beforeAll(async () => {
  if (browserPath !== null) browser = await launchBrowser();
}, 120_000);
afterAll(() => browser?.close());

// Skipped: there is no browser on this machine; browser.ts prints which it looks for.
describe.skipIf(browserPath === null)('the page and its node', { timeout: 120_000 }, () => {
  test('a node with a key: the page asks for it, and keeps it for the tab', async () => {
    const served = await serveNode({ apiKey: 'a secret' });
    const { page, context } = await openPage(browser, served.url);
    await page.getByText('This node asks for a key').waitFor();
    expect(await page.locator('#content').isVisible()).toBe(false);
    await page.keyboard.type('a guess');
    await page.keyboard.press('Enter');
    await page.getByText('this is not the key').waitFor();
    await page.keyboard.type('a secret');
    await page.keyboard.press('Enter');
    await page.getByText('connected').waitFor();
    await page.locator('#api-example').getByText('Bearer $CIDERY_API_KEY').waitFor();

    await page.locator('#prompt').fill('one two three');
    await page.keyboard.press('Enter');
    await page.locator('.assistant').getByText('one two three').waitFor();
    await page.locator('article').getByText(echoModel).waitFor();

    await page.reload();
    await page.getByText('connected').waitFor();
    await context.close();
    await served.close();
  });

  test('a node that sleeps: the page says so, and looks for it again', async () => {
    const shown = await ShownState.start();
    const { page, context } = await openPage(browser, shown.url);
    await page.clock.install();
    await page.reload();
    await page.getByText('connected').waitFor();
    shown.sleep();
    await page.clock.fastForward(10_000);
    await page.getByText('the node does not answer; trying again…').waitFor();
    expect(await page.locator('#content.stale').count()).toBe(1);
    shown.show([instanceOf()]);
    await page.clock.fastForward(1_000);
    await page.getByText('connected').waitFor();
    await page.locator('article').getByText('org/model').waitFor();
    expect(await page.locator('#content.stale').count()).toBe(0);
    await context.close();
    await shown.close();
  });

  test('a page that nobody looks at lets go of its connection', async () => {
    const shown = await ShownState.start();
    const { page, context } = await openPage(browser, shown.url);
    const setHidden = (hidden: boolean) =>
      page.evaluate(`
        Object.defineProperty(document, 'hidden', { configurable: true, value: ${hidden} });
        document.dispatchEvent(new Event('visibilitychange'));
      `);
    await page.getByText('connected').waitFor();
    expect(shown.watchers).toBe(1);
    await setHidden(true);
    await expect.poll(() => shown.watchers, { timeout: 30_000 }).toBe(0);
    shown.show([instanceOf()]);
    await setHidden(false);
    await page.locator('article').getByText('org/model').waitFor();
    expect(shown.watchers).toBe(1);
    await context.close();
    await shown.close();
  });

  test('loading sends the settings, and shows why it is refused', async () => {
    const shown = await ShownState.start();
    shown.models = [{ id: 'org/idle', state: 'on disk', size_bytes: 5e9 }];
    const { page, context } = await openPage(browser, shown.url);
    const load = page.getByRole('button', { name: 'Load org/idle' });
    await load.click();
    await page.getByText('Settings for loading').click();
    await page.locator('#ranks').fill('3');
    await page.locator('#split').selectOption('tensor');
    await page.locator('#mode').selectOption('precise');
    await page.locator('#context').fill('4096');
    await load.click();
    await expect
      .poll(() => shown.changes, { timeout: 30_000 })
      .toEqual([
        { model: 'org/idle', ranks: 1, split: 'auto', mode: 'fast' },
        { model: 'org/idle', ranks: 3, split: 'tensor', mode: 'precise', context: 4_096 },
      ]);
    shown.refusal = { message: 'it has 2 heads', hint: 'take 2 ranks' };
    await load.click();
    await page.getByRole('alert').getByText('it has 2 heads (take 2 ranks)').waitFor();
    await context.close();
    await shown.close();
  });

  test('unloading what answers requests asks first', async () => {
    const shown = await ShownState.start();
    const { page, context } = await openPage(browser, shown.url);
    shown.show([instanceOf({ measured: { ...instanceOf().measured, running: 2, waiting: 1 } })]);
    const unload = page.getByRole('button', { name: 'Unload org/model' });
    const questions: string[] = [];
    page.once('dialog', (dialog) => {
      questions.push(dialog.message());
      void dialog.dismiss();
    });
    await unload.click();
    page.once('dialog', (dialog) => void dialog.accept());
    await unload.click();
    await expect.poll(() => shown.changes, { timeout: 30_000 }).toEqual(['deployment-1']);
    expect(questions).toEqual(['org/model has 3 requests. Unload it all the same?']);
    await context.close();
    await shown.close();
  });
});
