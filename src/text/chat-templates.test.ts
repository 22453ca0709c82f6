import { pathToFileURL } from 'node:url';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { limits } from '../base/limits.ts';
import { ChatTemplates } from './chat-templates.ts';
import type { TemplateJob } from './template-job.ts';
import { type CompiledChild, compileChild } from '../../test/support/compile-child.ts';

let worker: CompiledChild;
beforeAll(async () => {
  worker = await compileChild('src/text/template-worker.ts');
});
afterAll(() => worker.remove());

const open: ChatTemplates[] = [];
afterEach(async () => {
  await Promise.all(open.splice(0).map((templates) => templates.close()));
});

function chatTemplates(): ChatTemplates {
  const templates = new ChatTemplates(pathToFileURL(worker.script));
  open.push(templates);
  return templates;
}

function job(template: string): TemplateJob {
  return {
    template,
    messages: [{ role: 'user', content: 'hi' }],
    tools: null,
    addGenerationPrompt: true,
    variables: {},
    now: '2026-01-31T12:00:00',
  };
}

const hello = job('<{{ messages[0].content }}>{{ strftime_now("%Y") }}');
const helloText = { text: '<hi>2026', outside: [1, 3] };

test('renders in its thread, many at once in their order', async () => {
  const templates = chatTemplates();
  const texts = Array.from({ length: 50 }, (_, at) => templates.render(job(`${at}`)));
  expect((await Promise.all(texts)).map(({ text }) => text)).toEqual(
    Array.from({ length: 50 }, (_, at) => String(at)),
  );
  expect(await templates.render(hello)).toEqual(helloText);
});

const loops = '{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}';

function failsWith(code: string): unknown {
  return expect.objectContaining({ code: expect.stringMatching(`^${code}$`) });
}

test.each([
  ['loops', loops, 'template_timeout'],
  [
    'sorts too much',
    `{% set x = range(99999)|list %}${'{% set x = x|sort|reverse|list %}'.repeat(999)}`,
    'template_timeout',
  ],
  [
    'eats memory',
    '{% set n = namespace(x=[]) %}{% for i in range(99999) %}{% set n.x = n.x + [range(99999)] %}' +
      '{% endfor %}',
    // A slow machine's time is up first.
    'template_(too_large|timeout)',
  ],
  // JavaScript's own search would go on for an hour, and could not be ended with its thread.
  [
    'searches long texts',
    "{{ ('a' * 999999 ~ 'b' ~ 'a' * 999999)|upper in ('a' * 4000000)|upper }}",
    'template_timeout',
  ],
  ['makes long texts', "{{ ('<' * 4000000)|e|length }}", 'template_(too_large|timeout)'],
  ['fills a row', '{{ [1]|batch(400000000, 0)|length }}', 'template_failed'],
  ['recurses', '{% macro f(n) %}{{ f(n + 1) }}{% endmacro %}{{ f(0) }}', 'template_failed'],
])('a template that %s costs its request and nothing else', async (_name, template, code) => {
  const templates = chatTemplates();
  const [hostile, honest] = await Promise.allSettled([
    templates.render(job(template)),
    templates.render(hello),
  ]);
  expect(hostile).toEqual({ status: 'rejected', reason: failsWith(code) });
  expect(honest).toEqual({ status: 'fulfilled', value: helloText });
});

test("the template's own refusal arrives with its words", async () => {
  const refusal = chatTemplates().render(job('{{ raise_exception("no: " ~ messages[0].role) }}'));
  await expect(refusal).rejects.toMatchObject({
    code: 'template_refused',
    message: 'no: user',
    hint: expect.any(String),
  });
});

test('a job that is aborted before its turn is not run', async () => {
  const templates = chatTemplates();
  const abort = new AbortController();
  const first = templates.render(job(loops));
  const second = templates.render(hello, abort.signal);
  abort.abort(new Error('gone'));
  await expect(second).rejects.toThrow('gone');
  await expect(first).rejects.toMatchObject({ code: 'template_timeout' });
});

test('more jobs than can wait are refused', async () => {
  const templates = chatTemplates();
  const jobs = Array.from({ length: limits.templateJobsMax + 1 }, () => templates.render(hello));
  const results = await Promise.allSettled(jobs);
  expect(results.filter(({ status }) => status === 'rejected')).toEqual([
    { status: 'rejected', reason: expect.objectContaining({ code: 'template_busy' }) },
  ]);
});

test('a script that is not there is an error, and closing twice does nothing', async () => {
  const templates = new ChatTemplates(new URL('nowhere.js', pathToFileURL(worker.script)));
  await expect(templates.render(hello)).rejects.toMatchObject({ code: 'template_worker_ended' });
  await templates.close();
  await templates.close();
});
