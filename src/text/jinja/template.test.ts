import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { CideryError } from '../../base/error.ts';
import { MarkedText } from './marked-text.ts';
import { Template } from './template.ts';
import { fromJson, type Value } from './values.ts';

const outcomeShape = {
  text: z.string().optional(),
  refused: z.string().optional(),
  error: z.string().optional(),
};
const json = z.record(z.string(), z.unknown());
const goldens = z
  .object({
    data: json,
    snippets: z.array(z.object({ name: z.string(), template: z.string(), ...outcomeShape })),
    timesTemplate: z.string(),
    times: z.array(z.object({ now: z.string(), ...outcomeShape })),
    chatInputs: z.array(
      z.object({
        name: z.string(),
        messages: z.array(json),
        tools: z.array(json).optional(),
        prompt: z.boolean(),
        variables: json.optional(),
      }),
    ),
    ownTemplates: z.record(z.string(), z.string()),
    chats: z.array(z.object({ template: z.string(), chat: z.string(), ...outcomeShape })),
  })
  .parse(JSON.parse(readFileSync(new URL('../golden/templates.json', import.meta.url), 'utf8')));

const now = '2026-03-05T09:07:03.000042';
const require = createRequire(import.meta.url);

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
  return { error: expect.stringMatching(/^template_(failed|syntax)$/) };
}

function templateOf(name: string): string {
  const own = goldens.ownTemplates[name];
  if (own !== undefined) return own;
  const config: unknown = JSON.parse(
    readFileSync(require.resolve(`${name}/models/tokenizer_config.json`), 'utf8'),
  );
  return z.object({ chat_template: z.string() }).parse(config).chat_template;
}

describe("the same text as Python's Jinja", () => {
  test.each(goldens.snippets)('$name: $template', (golden) => {
    expect(outcome(golden.template, goldens.data, now)).toEqual(expected(golden));
  });

  test.each(goldens.times)('strftime_now at $now', (golden) => {
    expect(outcome(goldens.timesTemplate, {}, golden.now)).toEqual(expected(golden));
  });

  test.each(goldens.chats)('$template: $chat', (golden) => {
    const chat = goldens.chatInputs.find(({ name }) => name === golden.chat);
    const variables = {
      messages: chat?.messages,
      tools: chat?.tools ?? null,
      add_generation_prompt: chat?.prompt,
      bos_token: '<BOS>',
      eos_token: '<EOS>',
      ...chat?.variables,
    };
    expect(outcome(templateOf(golden.template), variables, now)).toEqual(expected(golden));
  });
});
