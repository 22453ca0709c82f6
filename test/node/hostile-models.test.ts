import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, describe, expect, test } from 'vitest';
import { limits } from '../../src/base/limits.ts';
import type { PromptInput } from '../../src/engine/protocol.ts';
import type { CideryNode } from '../../src/node/node.ts';
import { type OptionChanges, optionsWith, tinyModels } from '../support/rank-session.ts';
import { admitTiny, realNode } from '../support/real-node.ts';
import { rejection } from '../support/rejection.ts';

/** Models whose text side is broken or hostile, each beside an honest one on the same node. */

const home = mkdtempSync(join(tmpdir(), 'cidery-hostile-'));
afterAll(() => rmSync(home, { recursive: true }));
const never = new AbortController().signal;
const open: CideryNode[] = [];
afterEach(async () => {
  await Promise.all(open.splice(0).map((node) => node.close()));
});

/** Words w0 to w130, one a token. */
const honest = {
  version: '1.0',
  truncation: null,
  padding: null,
  added_tokens: [],
  normalizer: null,
  pre_tokenizer: { type: 'WhitespaceSplit' },
  post_processor: null,
  decoder: null,
  model: {
    type: 'WordLevel',
    vocab: Object.fromEntries(Array.from({ length: 131 }, (_, id) => [`w${id}`, id])),
    unk_token: 'w0',
  },
};

function tinyBpe(prefix: string) {
  return {
    type: 'BPE',
    vocab: { a: 0, b: 1, ab: 2 },
    merges: ['a b'],
    continuing_subword_prefix: prefix,
    unk_token: null,
  };
}

/** A template that names a special token which is defined nowhere. */
const missingToken = {
  type: 'TemplateProcessing',
  single: [{ SpecialToken: { id: 'X', type_id: 0 } }, { Sequence: { id: 'A', type_id: 0 } }],
  pair: [],
  special_tokens: {},
};

async function world(name: string, tokenizer: string, template = '') {
  const folder = join(home, name);
  mkdirSync(folder);
  for (const file of ['config.json', 'model.safetensors']) {
    cpSync(join(tinyModels, 'llama', file), join(folder, file));
  }
  writeFileSync(join(folder, 'tokenizer.json'), tokenizer);
  if (template !== '') writeFileSync(join(folder, 'chat_template.jinja'), template);
  const node = realNode({ home });
  open.push(node);
  return { node, model: (await node.library.admit(folder)).id };
}

async function answer(
  node: CideryNode,
  model: string,
  input: PromptInput,
  changes: OptionChanges = {},
): Promise<{ text: string; promptIds: readonly number[] }> {
  const options = optionsWith({ maxTokens: 4, ...changes });
  const { promptIds, events } = await node.generate({ model, input, options }, never);
  let text = '';
  for await (const event of events) if (event.type === 'delta') text += event.text;
  return { text, promptIds };
}

const chat = (content: string): PromptInput => ({
  kind: 'chat',
  messages: [{ role: 'user', content }],
  tools: null,
  variables: {},
});
const text = (content: string, special = false): PromptInput => ({
  kind: 'text',
  text: content,
  special,
});
const ids: PromptInput = { kind: 'ids', ids: [1, 2, 3] };

describe('a tokenizer.json', () => {
  test('that aborts the process while it is read costs its own model', async () => {
    const { node, model } = await world(
      'aborts-reading',
      JSON.stringify({ ...honest, model: tinyBpe('##########') }),
    );
    const llama = await admitTiny(node, 'llama');
    const [refused] = await Promise.all([
      rejection(answer(node, model, ids)),
      answer(node, llama, ids),
    ]);
    expect(refused.code).toBe('rank_lost');
    const { instances } = node.state();
    expect(instances.map(({ state }) => state).toSorted()).toEqual(['failed', 'ready']);
    await answer(node, llama, ids);
  });

  test('that aborts it at a prompt costs that request', async () => {
    const { node, model } = await world(
      'aborts-encoding',
      JSON.stringify({ ...honest, post_processor: missingToken }),
    );
    const before = await answer(node, model, ids);
    expect((await rejection(answer(node, model, text('w1 w2', true)))).code).toBe(
      'request_given_up',
    );
    expect(await answer(node, model, ids)).toEqual(before);
  });

  test.each([
    ['is no JSON', '{"version":'],
    ['has no model', JSON.stringify({ ...honest, model: null })],
    ['has a model of no known type', JSON.stringify({ ...honest, model: { type: 'Surprise' } })],
    ['is a list', '[]'],
  ])('that %s is refused with its reason', async (name, tokenizer) => {
    const { node, model } = await world(name.replaceAll(' ', '-'), tokenizer);
    const { code } = await rejection(answer(node, model, ids));
    expect(['tokenizer_invalid', 'model_file_broken']).toContain(code);
  });
});

describe('a chat template', () => {
  const template = `{% set said = messages[0].content %}{% if said == 'loop' %}
    {% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}{% endif %}
    {% if said == 'grow' %}{% set all = namespace(text='abcdefgh') %}
    {% for i in range(99) %}{% set all.text = all.text ~ all.text %}{% endfor %}
    {{ all.text }}{% endif %}
    {% if said == 'refuse' %}{{ raise_exception('no such chat') }}{% endif %}{{ said }}`;

  test('that loops, grows or refuses costs one request, and answers under way go on', async () => {
    const { node, model } = await world('template', JSON.stringify(honest), template);
    const expected = await answer(node, model, ids, { maxTokens: 500 });
    const pid = node.state().instances[0]?.ranks[0]?.pid;
    const beside = answer(node, model, ids, { maxTokens: 500 });
    const codes = await Promise.all(
      ['loop', 'grow', 'refuse'].map(
        async (said) => (await rejection(answer(node, model, chat(said)))).code,
      ),
    );
    expect(codes).toEqual(['template_timeout', 'template_too_large', 'template_refused']);
    expect(await beside).toEqual(expected);
    expect((await answer(node, model, chat('w5 w6'))).promptIds).toEqual([5, 6]);
    expect(node.state().instances[0]?.ranks[0]?.pid).toBe(pid);
  });

  test('that a client has left is rendered no more', async () => {
    const { node, model } = await world('left', JSON.stringify(honest), template);
    await node.ready(model, never);
    const clients = Array.from({ length: 20 }, () => new AbortController());
    const waiting = clients.map(({ signal }) =>
      node
        .generate({ model, input: chat('loop'), options: optionsWith({}) }, signal)
        .catch((error: unknown) => error),
    );
    await new Promise((resolve) => setTimeout(resolve, limits.templateTimeoutMs / 4));
    for (const client of clients) client.abort('left');
    expect(await Promise.all(waiting)).toEqual(clients.map(() => 'left'));
    expect((await answer(node, model, chat('w7'))).promptIds).toEqual([7]);
    // Twenty loops of a second each would not leave the time for it.
  }, 15_000);

  test('with a syntax error, or missing, is the request’s error', async () => {
    const broken = await world('syntax', JSON.stringify(honest), '{% if %}');
    expect((await rejection(answer(broken.node, broken.model, chat('w1')))).code).toMatch(
      /^template_/,
    );
    const none = await world('none', JSON.stringify(honest));
    expect((await rejection(answer(none.node, none.model, chat('w1')))).code).toBe(
      'template_missing',
    );
    expect((await answer(none.node, none.model, text('w1 w2 w3'))).promptIds).toEqual([1, 2, 3]);
  });
});
