import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { CideryError } from '../../base/error.ts';
import { packageFile, tokenizerPackageSchema } from '../../../test/support/tokenizer-packages.ts';
import { MarkedText } from './marked-text.ts';
import { Template } from './template.ts';
import { fromJson, type Value } from './values.ts';

const outcomeShape = {
  text: z.string().optional(),
  refused: z.string().optional(),
  error: z.string().optional(),
};
const json = z.record(z.string(), z.unknown());
const goldens = read(
  'templates.json',
  z.object({
    snippets: z.array(z.object({ name: z.string(), template: z.string(), ...outcomeShape })),
    times: z.array(z.object({ now: z.string(), ...outcomeShape })),
    chats: z.array(z.object({ template: z.string(), chat: z.string(), ...outcomeShape })),
  }),
);
const snippets = read('snippets.json', z.object({ data: json, times: z.string() }));
const inputs = read(
  'chats.json',
  z.object({
    templates: z.record(z.string(), z.string()),
    chats: z.array(
      z.object({
        name: z.string(),
        messages: z.array(json),
        tools: z.array(json).optional(),
        prompt: z.boolean(),
        variables: json.optional(),
      }),
    ),
  }),
);

function read<T>(name: string, schema: z.ZodType<T>): T {
  return schema.parse(
    JSON.parse(readFileSync(new URL(`../golden/${name}`, import.meta.url), 'utf8')),
  );
}

const now = '2026-03-05T09:07:03.000042';

/** What the golden script writes of an outcome: the text, the refusal, or only that it failed. */
function outcome(source: string, variables: Record<string, unknown>, at: string): object {
  const values = Object.entries(variables).map(([name, value]): [string, Value] => [
    name,
    fromJson(value, (string) => MarkedText.inside(string)),
  ]);
  try {
    return { text: new Template(source).render(new Map(values), at).text };
  } catch (error) {
    if (!(error instanceof CideryError)) throw error;
    return error.code === 'template_refused' ? { refused: error.message } : { error: error.code };
  }
}

function expected(golden: { text?: string | undefined; refused?: string | undefined }): object {
  if (golden.text !== undefined) return { text: golden.text };
  if (golden.refused !== undefined) return { refused: golden.refused };
  return { error: expect.stringMatching(/^template_(failed|invalid)$/) };
}

function templateOf(name: string): string {
  const own = inputs.templates[name];
  if (own !== undefined) return own;
  const file = packageFile(tokenizerPackageSchema.parse(name), 'tokenizer_config.json');
  const config: unknown = JSON.parse(file);
  return z.object({ chat_template: z.string() }).parse(config).chat_template;
}

describe("the same text as Python's Jinja", () => {
  test.each(goldens.snippets)('$name: $template', (golden) => {
    expect(outcome(golden.template, snippets.data, now)).toEqual(expected(golden));
  });

  test.each(goldens.times)('strftime_now at $now', (golden) => {
    expect(outcome(snippets.times, {}, golden.now)).toEqual(expected(golden));
  });

  test.each(goldens.chats)('$template: $chat', (golden) => {
    const chat = inputs.chats.find(({ name }) => name === golden.chat);
    const variables = {
      messages: chat?.messages,
      tools: chat?.tools ?? null,
      documents: null,
      add_generation_prompt: chat?.prompt,
      bos_token: '<BOS>',
      eos_token: '<EOS>',
      ...chat?.variables,
    };
    expect(outcome(templateOf(golden.template), variables, now)).toEqual(expected(golden));
  });
});

test('tuples are keys by what they hold, however deep', () => {
  const nest = (text: string): string =>
    `{% set n = namespace(t=${text}) %}{% for i in range(99) %}{% set n.t = (n.t,) %}{% endfor %}`;
  const found = `${nest("('a', 1)")}{% set d = {n.t: 'found'} %}${nest("('a', 1)")}{{ d[n.t] }}`;
  expect(outcome(found, {}, now)).toEqual({ text: 'found' });
  const pairs = "{{ {('a', 'b'): 1, ('a1:b',): 2, (('a',), 'b'): 3, ('a', ('b',)): 4}|length }}";
  expect(outcome(pairs, {}, now)).toEqual({ text: '4' });
});
