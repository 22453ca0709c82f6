import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { jsonEvent } from './event-stream.ts';
import { readEvents } from './read-events.ts';

async function* inPieces(bytes: Uint8Array, sizes: readonly number[]) {
  let from = 0;
  for (const size of sizes) {
    yield bytes.subarray(from, from + size);
    from += size;
  }
  yield bytes.subarray(from);
}

async function eventsOf(text: string, sizes: readonly number[] = []): Promise<string[]> {
  const events: string[] = [];
  for await (const data of readEvents(inPieces(new TextEncoder().encode(text), sizes))) {
    events.push(data);
  }
  return events;
}

describe('reading server-sent events', () => {
  test.each<[string, string, string[]]>([
    ['one', 'data: a\n\n', ['a']],
    ['without a space', 'data:a\n\n', ['a']],
    ['only one space goes', 'data:  a\n\n', [' a']],
    ['several lines', 'data: a\ndata: b\n\n', ['a\nb']],
    ['comments and other fields', ': hi\nevent: x\nid: 7\ndata: a\n\n: bye\n\n', ['a']],
    ['returns', 'data: a\r\n\r\ndata: b\r\n\r\n', ['a', 'b']],
    ['old line ends', 'data: a\r\rdata: b\r\r\n', ['a', 'b']],
    ['one that is not ended', 'data: a\n\ndata: b\n', ['a']],
    ['no data', 'event: x\n\n', []],
  ])('%s', async (_name, text, expected) => {
    expect(await eventsOf(text)).toEqual(expected);
  });

  test('what is written comes back, however it is cut', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.string({ unit: 'grapheme' })),
        fc.array(fc.nat({ max: 9 })),
        async (texts, sizes) => {
          const sent = texts.map((text) => jsonEvent({ text }, 'name')).join('');
          expect((await eventsOf(sent, sizes)).map((data) => JSON.parse(data))).toEqual(
            texts.map((text) => ({ text })),
          );
        },
      ),
    );
  });
});
