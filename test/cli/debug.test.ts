import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
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

  test('a line without an end is a line, and input that is no UTF-8 is no crash', async () => {
    const started = sandbox.start(['debug']);
    started.process.stdin.write(Buffer.from([0xff, 0xfe, 0x0a]));
    started.process.stdin.end('{"op":"last"}');
    const { status, stdout } = await started.result;
    expect([status, stdout.trim().split('\n').length]).toEqual([0, 2]);
  });
});
