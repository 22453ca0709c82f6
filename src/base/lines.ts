import { CideryError } from './error.ts';

/** Splits a stream of bytes into lines of JSON, with a bound on a line's length. */
export class JsonLines {
  readonly #maxBytes: number;
  #parts: Uint8Array[] = [];
  #length = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** The values of the lines that these bytes complete. Throws `line_too_long`, `line_not_json`. */
  push(bytes: Uint8Array): unknown[] {
    const values: unknown[] = [];
    let from = 0;
    for (let end = bytes.indexOf(10); end >= 0; end = bytes.indexOf(10, from)) {
      this.#append(bytes.subarray(from, end));
      values.push(this.#take());
      from = end + 1;
    }
    this.#append(bytes.subarray(from));
    return values;
  }

  #append(bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    this.#length += bytes.length;
    if (this.#length > this.#maxBytes) {
      throw new CideryError('line_too_long', `a line is longer than ${this.#maxBytes} bytes`);
    }
    this.#parts.push(bytes);
  }

  #take(): unknown {
    const line = new Uint8Array(this.#length);
    let at = 0;
    for (const part of this.#parts) {
      line.set(part, at);
      at += part.length;
    }
    this.#parts = [];
    this.#length = 0;
    try {
      return JSON.parse(new TextDecoder().decode(line));
    } catch (cause) {
      throw new CideryError('line_not_json', 'a line is not JSON', { cause });
    }
  }
}

/** One value as a line of JSON. */
export function jsonLine(value: unknown): Uint8Array {
  return new TextEncoder().encode(`${JSON.stringify(value)}\n`);
}
