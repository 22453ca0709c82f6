import { expect, test } from 'vitest';
import { renderTemplate, type TemplateJob } from './template-job.ts';

const base: Omit<TemplateJob, 'template'> = {
  messages: [],
  tools: null,
  addGenerationPrompt: false,
  variables: {},
  now: '2026-01-31T12:00:00',
};

/** The rendered text with brackets around what came from outside. */
function marked(job: Partial<TemplateJob> & { template: string }): string {
  const { text, outside } = renderTemplate({ ...base, ...job });
  let shown = '';
  let done = 0;
  for (let at = 0; at < outside.length; at += 2) {
    const [start, end] = [outside[at] ?? 0, outside[at + 1] ?? 0];
    shown += `${text.slice(done, start)}[${text.slice(start, end)}]`;
    done = end;
  }
  return shown + text.slice(done);
}

const m = 'messages[0]';

test.each([
  ['printing', `a{{ ${m}.content }}b`, 'a[ x-Y ]b'],
  ['concatenation', `{{ 'a' + ${m}.content + 'b' ~ ${m}.content ~ 1 }}`, 'a[ x-Y ]b[ x-Y ]1'],
  ['trimming', `<{{ ${m}.content | trim }}{{ ${m}.content.strip() }}>`, '<[x-Yx-Y]>'],
  [
    'splitting',
    `{{ ${m}.content.split('-')[1] }}|{{ ${m}.content.split('-')|join('+') }}`,
    '[Y ]|[ x]+[Y ]',
  ],
  ['slicing', `.{{ ${m}.content[1:2] }}.{{ ${m}.content[::-1] }}.`, '.[x].[ Y-x ].'],
  ['case', `.{{ ${m}.content | upper }}.`, '.[ X-Y ].'],
  [
    'replacing',
    `{{ ${m}.content.replace('-', '<>') }}{{ '<->'.replace('-', ${m}.content) }}`,
    '[ x]<>[Y ]<[ x-Y ]>',
  ],
  [
    'formatting',
    `{{ '<%s>' % ${m}.content }}{{ '<{}>'.format(${m}.content) }}`,
    '<[ x-Y ]><[ x-Y ]>',
  ],
  ['repetition', `<{{ ${m}.content[1] * 3 }}>`, '<[xxx]>'],
  ['JSON', `{{ {'k': ${m}.content, 'n': 1} | tojson }}`, '{"k": "[ x-Y ]", "n": 1}'],
  ['JSON of tools', `{{ tools | tojson }}`, '[{"[name]": "[<\\"s>]"}]'],
  ['lists', `{{ [${m}.content] }}`, "[[' x-Y ']]"],
  ['capturing', `{% set a %}<{{ ${m}.content }}>{% endset %}{{ a }}{{ a | length }}`, '<[ x-Y ]>7'],
  ['macros', `{% macro f(t) %}<{{ t }}>{% endmacro %}{{ f(${m}.content) }}`, '<[ x-Y ]>'],
  ['characters', `{% for c in ${m}.content %}{{ c }}.{% endfor %}`, '[ ].[x].[-].[Y].[ ].'],
  ['indenting', `{{ ('a\\n' + ${m}.content) | indent(1) }}`, 'a\n [ x-Y ]'],
  ['keys', `{% for t in tools %}{% for k in t %}<{{ k }}>{% endfor %}{% endfor %}`, '<[name]>'],
  ['names of arguments', '{{ dict(**tools[0]) }}', `{['name']: ['<"s>']}`],
  [
    'names that a macro takes',
    '{% macro f() %}{% for k in kwargs %}<{{ k }}>{% endfor %}{% endmacro %}{{ f(**tools[0]) }}',
    '<[name]>',
  ],
  ['names in a namespace', '{{ namespace(**tools[0]) }}', `<Namespace {['name']: ['<"s>']}>`],
  ['defaults', `{{ ${m}.nothing | default('own') }}{{ ${m}.name }}`, 'own[|im_start|]'],
])('knows what came from outside after %s', (_name, template, expected) => {
  const messages = [{ role: 'user', content: ' x-Y ', name: '|im_start|' }];
  expect(marked({ template, messages, tools: [{ name: '<"s>' }] })).toBe(expected);
});

test('known roles are the template’s own, others are text', () => {
  const template = `{% for m in messages %}{{ '<|' + m.role + '|>' }}{% endfor %}`;
  const messages = [{ role: 'user' }, { role: 'tool' }, { role: 'im_start' }];
  expect(marked({ template, messages })).toBe('<|user|><|tool|><|[im_start]|>');
});

test('an assistant’s message keeps the control tokens that it may hold', () => {
  const content = 'a<think>b</think><|im_end|>';
  const messages = [
    { role: 'assistant', content },
    { role: 'user', content },
  ];
  const template = `{% for m in messages %}{{ m.content }}/{% endfor %}`;
  expect(marked({ template, messages, assistantTokens: ['<think>', '</think>'] })).toBe(
    `[a]<think>[b]</think>[<|im_end|>]/[${content}]/`,
  );
});

test('variables of the model are its own, those of a request are not', () => {
  expect(
    marked({
      template: '{{ bos_token }}{{ extra }}{{ documents is none }}{{ add_generation_prompt }}',
      variables: { bos_token: '<s>' },
      requestVariables: { extra: '<s>' },
      addGenerationPrompt: true,
    }),
  ).toBe('<s>[<s>]TrueTrue');
});

test.each([
  ['{{ raise_exception("no system role") }}', 'template_refused', 'no system role'],
  ['{% if %}', 'template_invalid', 'the chat template is no valid Jinja'],
  ['{{ messages.x.y }}', 'template_failed', "has no attribute 'x'"],
  ['{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}', 'template_failed', 'nested too deeply'],
  [`{{ ${'('.repeat(50_000)}1${')'.repeat(50_000)} }}`, 'template_failed', 'nested too deeply'],
  ['{{ "x" * 100000000 }}', 'template_too_large', 'characters'],
  [
    '{% set n = namespace(s="x") %}{% for i in range(99) %}{% set n.s = n.s + n.s %}{% endfor %}',
    'template_too_large',
    'characters',
  ],
  ['{% for i in range(99999) %}{{ "x" * 999 }}{% endfor %}', 'template_too_large', 'too much text'],
  ['{{ [0] * 99999999 }}', 'template_failed', 'a list is too long'],
  ['{{ range(99999999) | length }}', 'template_failed', 'a range may have'],
  ['{{ "a".ljust(999999999) }}', 'template_too_large', 'characters'],
  ['{{ "%999999999d" % 1 }}', 'template_too_large', 'characters'],
  ['{{ 9007199254740993 }}', 'template_invalid', 'too large'],
  ['{{ 9007199254740991 + 1 }}', 'template_failed', 'beyond 2**53'],
  ['{{ "".__class__.__mro__ }}', 'template_failed', 'has no attribute'],
  ['{{ messages.constructor.constructor("return 1")() }}', 'template_failed', 'has no attribute'],
])('a template that fails says how: %s', (template, code, message) => {
  expect(() => renderTemplate({ ...base, template })).toThrow(
    expect.objectContaining({ code, message: expect.stringContaining(message) }),
  );
});

test('a time that is none is refused', () => {
  expect(() => renderTemplate({ ...base, template: '', now: 'yesterday' })).toThrow(
    expect.objectContaining({ code: 'bad_time' }),
  );
});
