import { Readable } from 'node:stream';
import { expect, test } from 'vitest';
import { commandContext } from './context.ts';
import type { Answerer, Question } from './answerer.ts';
import { chat } from './chat.ts';
import { createOutput } from './output.ts';

const system = { role: 'system', content: 'be brief' } as const;

/** What a chat of these lines asks, and what it prints: the number of an answer for the answer. */
async function chatOf(lines: readonly string[]) {
  const asked: Question[] = [];
  const written: string[] = [];
  const sink = { write: (text: string) => written.push(text) };
  const answerer: Answerer = {
    answer(question, _options, onText) {
      asked.push(question);
      const text = `[${asked.length}]`;
      onText(text);
      const none = { promptTokens: 0, promptMs: 0, generatedTokens: 0, generateMs: 0 };
      return Promise.resolve({ text, finishReason: 'stop', ...none });
    },
    close: () => Promise.resolve(),
  };
  const context = {
    ...commandContext({}, new AbortController().signal),
    output: createOutput(false, sink, sink),
  };
  const options = { maxTokens: null, temperature: 0, topP: 1, seed: null };
  const input = Readable.from(lines.map((line) => `${line}\n`));
  await chat(context, answerer, options, [system], input);
  return { asked, written: written.join('').trimEnd().split('\n') };
}

const user = (content: string) => ({ role: 'user', content });
const assistant = (content: string) => ({ role: 'assistant', content });
const commands = [
  '/clear  forget the conversation',
  '/help   this list',
  '/exit   leave (as Ctrl-D does)',
  '//text  say /text',
  'Ctrl-C  stop an answer; at an empty prompt, leave',
];

test('a turn is asked with all that was said before it, until that is cleared', async () => {
  const { asked, written } = await chatOf(['a', ' b ', '', '/clear', 'c', '/exit', 'd']);
  expect(asked).toEqual([
    { kind: 'chat', messages: [system, user('a')] },
    { kind: 'chat', messages: [system, user('a'), assistant('[1]'), user('b')] },
    { kind: 'chat', messages: [system, user('c')] },
  ]);
  expect(written).toEqual(['[1]', '[2]', '[3]']);
});

test.each(['/frob', '/', '/help me', '/exit now', '/Clear'])(
  '%s is no command: it is not said, and what there is is listed',
  async (line) => {
    const { asked, written } = await chatOf([line, 'a']);
    expect(asked).toEqual([{ kind: 'chat', messages: [system, user('a')] }]);
    expect(written).toEqual([`there is no command ${line}; there are:`, ...commands, '[1]']);
  },
);

test('/help lists them without a word more', async () => {
  expect(await chatOf(['/help'])).toEqual({ asked: [], written: commands });
});

test('// says what begins with /', async () => {
  const { asked } = await chatOf(['//etc/passwd', '///x']);
  expect(asked[1]).toEqual({
    kind: 'chat',
    messages: [system, user('/etc/passwd'), assistant('[1]'), user('//x')],
  });
});
