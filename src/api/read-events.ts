import { CideryError } from '../base/error.ts';
import { limits } from '../base/limits.ts';

/**
 * The data of server-sent events out of a stream of bytes, event by event (lines of one event
 * joined by line ends, comments and other fields left out), as the HTML standard's section on event
 * streams has it. An event that the stream does not end is dropped.
 * Throws `event_too_long`.
 */
export async function* readEvents(
  body: AsyncIterable<Uint8Array>,
): AsyncGenerator<string, void, void> {
  const decoder = new TextDecoder();
  let rest = '';
  let data: string[] = [];
  for await (const bytes of body) {
    rest += decoder.decode(bytes, { stream: true });
    // A return at the end may be half of a line end whose other half is still to come.
    const lines = rest.split(/\r\n|\n|\r(?!$)/);
    rest = lines.pop() ?? '';
    if (rest.length > limits.bodyMaxBytes) {
      throw new CideryError('event_too_long', 'an event is longer than any that a node sends');
    }
    for (const line of lines) {
      if (line.startsWith('data:')) data.push(line.slice(line[5] === ' ' ? 6 : 5));
      else if (line === '' && data.length > 0) {
        yield data.join('\n');
        data = [];
      }
    }
  }
}
