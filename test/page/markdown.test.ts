import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { browserPath, launchBrowser, openPage, type WatchedPage } from './browser.ts';
import { ShownState } from './shown-state.ts';

let browser: Browser;
let shown: ShownState;
let watched: WatchedPage;
let page: Page;

beforeAll(async () => {
  if (browserPath === null) return;
  browser = await launchBrowser();
  shown = await ShownState.start();
  shown.models = [{ id: 'org/model', state: 'ready', size_bytes: 1 }];
  watched = await openPage(browser, shown.url);
  ({ page } = watched);
}, 120_000);
afterAll(async () => {
  await browser?.close();
  await shown?.close();
});

/** The HTML that an answer becomes; the browser writes it, so that it tells what is text. */
async function shownAs(answer: string): Promise<string> {
  shown.answer = answer;
  await page.locator('#prompt').fill('?');
  await page.keyboard.press('Enter');
  await page
    .locator('.assistant')
    .last()
    .getByText(/\d tokens?/)
    .waitFor();
  await page.locator('#send:enabled').waitFor();
  return page.locator('.assistant .said').last().innerHTML();
}

// Skipped: there is no browser on this machine; browser.ts prints which it looks for.
describe.skipIf(browserPath === null)('an answer in Markdown', { timeout: 120_000 }, () => {
  test.each([
    ['paragraphs', 'one\ntwo\n\nthree', '<p>one\ntwo</p><p>three</p>'],
    ['a heading', '## The `sky`\nis blue', '<h4>The <code>sky</code></h4><p>is blue</p>'],
    [
      'code in fences, which is shown as it is',
      'see:\n```python\nif **a**:\n\n    - b\n```\nthus',
      '<p>see:</p><pre>if **a**:\n\n    - b</pre><p>thus</p>',
    ],
    ['a fence that has not ended yet', '~~~\na < b', '<pre>a &lt; b</pre>'],
    ['a longer fence around a fence', '````\n```\n````', '<pre>```</pre>'],
    [
      'bold, italic and code',
      '**a *b* `**`** 2 * 3 * 4 snake_case_ *c*',
      '<p><b>a <i>b</i> <code>**</code></b> 2 * 3 * 4 snake_case_ <i>c</i></p>',
    ],
    ['marks that never end', '**a `b *c', '<p>**a `b *c</p>'],
    [
      'lists',
      '- a\n  - b\n  goes on\n* c\n\n2. d\n10) e',
      '<ul><li data-depth="0">a</li><li data-depth="1">b\ngoes on</li><li data-depth="0">c</li>' +
        '</ul><ul><li data-depth="0" style="list-style-type: &quot;2. &quot;;">d</li>' +
        '<li data-depth="0" style="list-style-type: &quot;10. &quot;;">e</li></ul>',
    ],
    [
      'HTML and links as text',
      '<img src=x onerror=alert(1)> [a](javascript:alert(1))\n# <b>',
      '<p>&lt;img src=x onerror=alert(1)&gt; [a](javascript:alert(1))</p><h4>&lt;b&gt;</h4>',
    ],
    ['nothing', '\n\n', ''],
  ])('%s', async (_name, answer, expected) => {
    expect(await shownAs(answer)).toBe(expected);
    expect(watched.complaints).toEqual([]);
  });

  test('goes back to the model as it was written', async () => {
    shown.answer = 'ok';
    const sent = page.waitForRequest((request) => request.url().endsWith('/chat/completions'));
    await shownAs('**ok**');
    await sent;
    const again = page.waitForRequest((request) => request.url().endsWith('/chat/completions'));
    await shownAs('ok');
    const { messages } = (await again).postDataJSON();
    expect(messages.at(-2)).toEqual({ role: 'assistant', content: '**ok**' });
  });

  test('a long one comes whole, piece by piece', async () => {
    const answer = Array.from({ length: 400 }, (_, line) => `- line ${line} **bold**`).join('\n\n');
    await shownAs(answer);
    expect(await page.locator('.assistant').last().locator('li b').count()).toBe(400);
  });
});
