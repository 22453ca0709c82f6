import { mkdtempSync, rmSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ApiClient } from '../../src/api/client.ts';
import { Daemon } from '../support/daemon.ts';
import { starterModel } from '../support/starter-model.ts';
import { browserPath, launchBrowser, openPage, type WatchedPage } from './browser.ts';

const home = mkdtempSync(join(tmpdir(), 'cidery-page-'));
const never = new AbortController().signal;
let daemon: Daemon;
let browser: Browser;
let watched: WatchedPage;
let page: Page;

beforeAll(async () => {
  if (browserPath === null) return;
  daemon = await Daemon.start(home);
  browser = await launchBrowser();
  watched = await openPage(browser, daemon.url);
  ({ page } = watched);
}, 300_000);
afterAll(async () => {
  await browser?.close();
  await daemon?.stop();
  rmSync(home, { recursive: true, force: true });
}, 60_000);

// Each goes on where the one before has left the page, as a user does.
// Skipped: there is no browser on this machine; browser.ts prints which it looks for.
describe.skipIf(browserPath === null)('the page of a daemon', { timeout: 300_000 }, () => {
  const card = () => page.locator('article').filter({ hasText: starterModel });
  const answers = () => page.locator('.assistant');
  const say = async (text: string) => {
    await page.locator('#send:enabled').waitFor();
    await page.locator('#prompt').fill(text);
    await page.keyboard.press('Enter');
  };

  test('loads, shows its model with process and memory, and calls nobody else', async () => {
    await page.locator('#connection.up').waitFor();
    await card().getByText('ready').first().waitFor();
    const [instance] = (await new ApiClient(daemon.url, null, fetch).state(never)).instances;
    const [rank] = instance?.ranks ?? [];
    expect(await card().locator('tbody tr').allInnerTexts()).toEqual([
      expect.stringMatching(new RegExp(`^0\\s+${hostname()}\\s+${rank?.pid}\\s+ready\\s`)),
    ]);
    expect(await card().innerText()).toMatch(/\n[\d.]+ MB\npredicted [\d.]+ MB\n/);
    await page.locator('#log summary').click();
    await page.locator('#log-lines').getByText('GET / 200').waitFor();
    await page.locator('#log summary').click();
    expect(watched.complaints).toEqual([]);
    expect(watched.requests.filter((url) => !url.startsWith(`${daemon.url}/`))).toEqual(
      watched.requests.filter((url) => url === 'data:,'),
    );
  });

  test('shows an answer at work: requests, speed, tokens', async () => {
    const leave = new AbortController();
    const response = await fetch(`${daemon.url}/v1/chat/completions`, {
      method: 'POST',
      body: JSON.stringify({
        model: starterModel,
        messages: [{ role: 'user', content: 'Count.' }],
        max_tokens: 8_000,
        ignore_eos: true,
        stream: true,
      }),
      signal: leave.signal,
    });
    expect(response.status).toBe(200);
    await card().getByText('1 running').waitFor();
    await card()
      .getByText(/^[1-9]\d*\.\d tok\/s$/)
      .waitFor();
    await card()
      .getByText(/^[1-9][\d,]* written$/)
      .waitFor();
    leave.abort();
    await card().getByText('0 running').waitFor();
  });

  test('answers in its chat as the tokens come, and remembers what was said', async () => {
    await page.getByText('Settings of the answer').click();
    await page.locator('#max-tokens').fill('12');
    await say('Why is the sky blue?');
    const facts = answers().first().locator('[data-part="facts"]');
    await facts.getByText(/^first token after .* s · \d+ tokens · .* tok\/s/).waitFor();
    expect(await facts.innerText()).toContain('cut at the most tokens');
    expect((await answers().first().locator('.said').innerText()).length).toBeGreaterThan(10);

    const sent = page.waitForRequest((request) => request.url().endsWith('/chat/completions'));
    await say('Say it shorter.');
    expect((await sent).postDataJSON()).toMatchObject({
      messages: [
        { role: 'user', content: 'Why is the sky blue?' },
        { role: 'assistant', content: await answers().first().locator('.said').innerText() },
        { role: 'user', content: 'Say it shorter.' },
      ],
    });
    await answers().nth(1).getByText('tok/s').waitFor();
    await page.getByRole('button', { name: 'New chat' }).click();
    expect([await answers().count(), watched.complaints]).toEqual([0, []]);
  });

  test('stops an answer at the click of a button', async () => {
    await page.locator('#max-tokens').fill('');
    await say('Write down the numbers from one to one thousand, each in words.');
    await answers().getByText(/\w+/).first().waitFor();
    await page.getByRole('button', { name: 'Stop' }).click();
    await answers().getByText('stopped').waitFor();
    await card().getByText('0 running').waitFor();
    expect(await page.getByRole('button', { name: 'Send' }).isEnabled()).toBe(true);
  });

  test('unloads a model and loads it split over two ranks', async () => {
    await page.getByRole('button', { name: `Unload ${starterModel}` }).click();
    await page.locator('#no-instances').waitFor();
    const row = page.locator('#models tr', { hasText: starterModel });
    await row.getByText('on disk').waitFor();
    await page.getByText('Settings for loading').click();
    await page.locator('#context').fill('512');
    await page.locator('#mode').selectOption('precise');
    await page.locator('#ranks').fill('2');
    await page.getByRole('button', { name: `Load ${starterModel}` }).click();
    await card().getByText('512 tokens').waitFor();
    expect(await card().innerText()).toContain('tensor, 2 ranks');
    expect(await card().innerText()).toContain('precise');
    await expect
      .poll(async () => (await card().locator('tbody tr').allInnerTexts()).join('\n'), {
        timeout: 60_000,
      })
      .toMatch(new RegExp(`^(\\d\\s+${hostname()}\\s+\\d+\\s+ready\\s+[\\d.]+ MB\\n?){2}$`));
    await page.locator('#max-tokens').fill('8');
    await say('What is rain?');
    await answers().last().getByText('8 tokens').waitFor();
    await page.locator('#models').getByText('ready').waitFor();
    expect(watched.complaints).toEqual([]);
  });

  test('says that the daemon is gone, and finds it again', async () => {
    const { port } = new URL(daemon.url);
    await daemon.stop();
    await page.getByText('the node does not answer; trying again…').waitFor();
    await say('Is anybody there?');
    await answers().last().getByText('the connection to the node is lost').waitFor();
    expect(await page.locator('#prompt').inputValue()).toBe('Is anybody there?');

    daemon = await Daemon.start(home, Number(port));
    await page.locator('#connection.up').waitFor();
    await card().getByText('ready').first().waitFor();
    await say('Is anybody there?');
    await answers().last().getByText('tok/s').waitFor();
  });
});
