import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { CliSandbox } from '../support/cli.ts';

let sandbox: CliSandbox;

beforeAll(async () => {
  sandbox = await CliSandbox.open();
});
afterAll(() => sandbox.close());

const tinyModel = join(import.meta.dirname, '../golden/models/llama');

/** The replies to lines of input, parsed, and the exit status. */
async function session(lines: readonly string[]): Promise<unknown[]> {
  const { status, stdout, stderr } = await sandbox.run(['debug'], { input: lines.join('\n') });
  expect([status, stderr]).toEqual([0, '']);
  return stdout
    .split('\n')
    .filter((line) => line !== '')
    .map((line): unknown => JSON.parse(line));
}

const error = (code: string) => ({ error: expect.objectContaining({ code }) });

describe('cidery debug', () => {
  test('answers in order, with the id of each request, and goes on after what fails', async () => {
    const render = (id: unknown, template: string) =>
      JSON.stringify({
        id,
        op: 'render',
        template,
        messages: [{ role: 'user', content: 'hi' }],
        addGenerationPrompt: true,
        variables: { bos_token: '<s>' },
      });
    const replies = await session([
      render(1, '{{ bos_token }}{{ messages[0].content }}{{ add_generation_prompt }}'),
      '{"id":2,"op":',
      '',
      '   ',
      '[]',
      '{"id":{"a":[1]},"op":"nonsense"}',
      render('x', "{{ raise_exception('no') }}"),
      render(null, '{% for %}'),
      '{"id":3,"op":"render","template":"x","messages":[],"surprise":1}',
      '{"id":4,"op":"generate","model":"no/such","ids":[1],"maxTokens":1}',
      '{"id":5,"op":"generate","model":"m","ids":[],"maxTokens":1}',
      '{"id":6,"op":"generate","model":"m","ids":[1],"batch":[[1]],"maxTokens":1}',
      '{"id":7,"op":"logits","model":"m","ids":[-1],"out":"f"}',
      '{"id":8,"op":"tokenize","tokenizer":"/nowhere/tokenizer.json","text":"x","special":true}',
      render(9, 'last'),
    ]);
    expect(replies).toEqual([
      { id: 1, text: '<s>hiTrue' },
      error('request_not_json'),
      error('request_invalid'),
      { id: { a: [1] }, ...error('request_unknown') },
      { id: 'x', ...error('template_refused') },
      { id: null, ...error('template_invalid') },
      { id: 3, ...error('request_invalid') },
      { id: 4, ...error('model_not_found') },
      { id: 5, ...error('request_invalid') },
      { id: 6, ...error('request_invalid') },
      { id: 7, ...error('request_invalid') },
      { id: 8, ...error('model_not_found') },
      { id: 9, text: 'last' },
    ]);
  });

  test('prompts that are none are named', async () => {
    const generate = (prompts: object) =>
      JSON.stringify({ op: 'generate', model: 'm', maxTokens: 1, ...prompts });
    const refused = (message: RegExp) => ({
      error: { code: 'request_invalid', message: expect.stringMatching(message) },
    });
    expect(
      await session([
        generate({ ids: [1.5] }),
        generate({ batch: [[1], ['a']] }),
        generate({ ids: [1], batch: [[1]] }),
        generate({}),
      ]),
    ).toEqual([
      refused(/expected int.* at ids\[0\]/),
      refused(/expected number.* at batch\[1\]\[0\]/),
      refused(/Unrecognized key: "ids"/),
      refused(/expected array.* at ids/),
    ]);
  });

  test('a template that loops for ever costs its request and nothing else', async () => {
    const loop = '{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}';
    const request = (template: string) =>
      JSON.stringify({ op: 'render', template, messages: [], variables: {} });
    expect(await session([request(loop), request('after')])).toEqual([
      error('template_timeout'),
      { text: 'after' },
    ]);
  });

  test('parameters come from config and headers', async () => {
    const [reply] = await session([
      JSON.stringify({ op: 'parameters', model: tinyModel, ranks: 1 }),
    ]);
    expect(reply).toEqual({
      ranks: [
        {
          bytes: expect.any(Number),
          tensors: expect.arrayContaining([
            {
              path: 'model.embed_tokens.weight',
              shape: [expect.any(Number), expect.any(Number)],
              split: 'columns',
            },
            {
              path: 'model.layers.0.self_attn.q_proj.weight',
              shape: [expect.any(Number), expect.any(Number)],
              split: 'columns',
            },
            {
              path: 'model.layers.0.self_attn.o_proj.weight',
              shape: [expect.any(Number), expect.any(Number)],
              split: 'rows',
            },
          ]),
        },
      ],
    });
  });

  test('parameters of several ranks are parts of the whole', async () => {
    const request = (ranks: number, split?: string) =>
      JSON.stringify({ op: 'parameters', model: tinyModel, ranks, split });
    const replies = await session([
      request(1),
      request(2, 'tensor'),
      request(2, 'pipeline'),
      request(3),
      request(64),
      JSON.stringify({ op: 'parameters', model: tinyModel, split: 'tensor' }),
    ]);
    const tensor = z.object({ path: z.string(), shape: z.array(z.int()), split: z.string() });
    const reply = z.object({
      ranks: z.array(z.object({ bytes: z.int(), tensors: z.array(tensor) })),
    });
    const [one, columns, layers, three] = replies
      .slice(0, 4)
      .map((value) => reply.parse(value).ranks);
    const bytes = (ranks = one) => ranks?.map((rank) => rank.bytes).reduce((a, b) => a + b, 0) ?? 0;
    const rows = (ranks = one) =>
      ranks?.map(
        ({ tensors }) => tensors.find(({ path }) => path.includes('0.mlp.up_proj'))?.shape[0],
      );
    expect([columns?.length, layers?.length, three?.length]).toEqual([2, 2, 3]);
    // Norms, and a key head that two ranks share, are on both.
    expect(bytes(columns)).toBeGreaterThan(bytes());
    expect(bytes(columns)).toBeLessThan(bytes() * 1.2);
    expect(bytes(layers)).toBe(bytes());
    expect(rows(columns)).toEqual([28, 28]);
    expect(rows(layers)).toEqual([56, undefined]);
    expect(rows(three)).toEqual([19, 19, 18]);
    expect(replies.slice(4)).toEqual([error('split_impossible'), error('split_invalid')]);
  });

  test('a line without an end is a line, and input that is no UTF-8 is no crash', async () => {
    const started = sandbox.start(['debug']);
    started.process.stdin.write(Buffer.from([0xff, 0xfe, 0x0a]));
    started.process.stdin.end('{"op":"last"}');
    const { status, stdout } = await started.result;
    expect([status, stdout.trim().split('\n').length]).toEqual([0, 2]);
  });
});
