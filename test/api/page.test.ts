import { Script } from 'node:vm';
import { describe, expect, test } from 'vitest';
import { readPage } from '../../src/cli/page.ts';

const page = await readPage();
const script = /<script type="module">(.*)<\/script>/s.exec(page)?.[1] ?? '';

describe('the page', () => {
  test('is one file that loads nothing', () => {
    expect(page).not.toMatch(/https?:\/\/|@import|<link(?![^>]*href="data:)|\ssrc=/);
    expect(page.match(/<script/g)).toHaveLength(1);
  });

  test('has a script that parses, makes no HTML out of text, and finds its elements', () => {
    expect(() => new Script(script)).not.toThrow();
    expect(script).not.toMatch(/innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(/);
    const ids = [...script.matchAll(/element\('([a-z-]+)'\)/g)].map(([, id]) => id);
    expect(ids.length).toBeGreaterThan(10);
    for (const id of ids) expect(page).toContain(`id="${id}"`);
  });

  test('gives every field a label', () => {
    for (const [, id] of page.matchAll(/<(?:input|select|textarea) id="([a-z]+)"/g)) {
      expect(page).toContain(`<label for="${id}">`);
    }
  });
});
