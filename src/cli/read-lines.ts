import { CideryError } from '../base/error.ts';

/**
 * The lines of a stream of bytes, decoded, without their ends; what follows the last line end
 * counts as a line. A line that is longer than `maxBytes` is not kept: an error of code
 * `line_too_long` comes in its place.
 */
export async function* readLines(
  stream: AsyncIterable<Uint8Array>,
  maxBytes: number,
): AsyncGenerator<string | CideryError, void, void> {
  let parts: Uint8Array[] = [];
  let length = 0;
  const append = (bytes: Uint8Array): void => {
    length += bytes.length;
    if (length > maxBytes) parts = [];
    else if (bytes.length > 0) parts.push(bytes);
  };
  const take = (): string | CideryError => {
    const tooLong = length > maxBytes;
    const line = Buffer.concat(parts).toString('utf8');
    parts = [];
    length = 0;
    if (!tooLong) return line.endsWith('\r') ? line.slice(0, -1) : line;
    return new CideryError('line_too_long', `a line is longer than ${maxBytes} bytes`);
  };
  for await (const bytes of stream) {
    let from = 0;
    for (let end = bytes.indexOf(10); end >= 0; end = bytes.indexOf(10, from)) {
      append(bytes.subarray(from, end));
      yield take();
      from = end + 1;
    }
    append(bytes.subarray(from));
  }
  if (length > 0) yield take();
}
