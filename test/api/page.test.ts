import { describe, expect, test } from 'vitest';
import { readPage } from '../../src/cli/page.ts';

const page = await readPage();
const document = page.get('/')?.text ?? '';
const scripts = [...page].filter(([path]) => path.endsWith('.js'));

describe('the page', () => {
  test('is a document, a style and scripts, and loads nothing else', () => {
    const types = [...page].map(([, { contentType }]) => contentType.split(';')[0]);
    expect(new Set(types)).toEqual(new Set(['text/html', 'text/css', 'text/javascript']));
    for (const [, { text }] of page) expect(text).not.toMatch(/https?:|@import\s+url|url\(/);
    const loaded = [...document.matchAll(/(?:src|href)="([^"]*)"/g)].map(([, path]) => path ?? '');
    expect(loaded.filter((path) => path !== 'data:,' && !page.has(path))).toEqual([]);
    for (const [, { text }] of scripts) {
      const imports = [...text.matchAll(/ from '\.(\/[^']*)'/g)].map(([, path]) => `/page${path}`);
      expect(imports.filter((path) => !page.has(path))).toEqual([]);
    }
  });

  test('makes no HTML and no code out of text', () => {
    expect(scripts.length).toBeGreaterThan(3);
    for (const [, { text }] of scripts) {
      expect(text).not.toMatch(/innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(/);
    }
    expect(document).not.toMatch(/<script(?![^>]*src=)|\son[a-z]+=|\sstyle=/);
  });

  test('gives every field a label', () => {
    const fields = [...document.matchAll(/<(?:input|select|textarea) id="([a-z-]+)"/g)];
    expect(fields.length).toBeGreaterThan(5);
    for (const [, id] of fields) expect(document).toContain(`<label for="${id}">`);
  });
});
