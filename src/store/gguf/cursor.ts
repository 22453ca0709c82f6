import { limits } from '../../base/limits.ts';
import type { OpenFile } from '../../ports/disk.ts';
import { brokenFile } from '../model-file-error.ts';

/**
 * Reads a GGUF header from front to back in pieces. The caller first asks that bytes are there
 * (`has`, else `await fill`) and then takes them; so a vocabulary is read without a promise for
 * each token, and never more is held than one piece and the value that is being read.
 */
export class GgufCursor {
  readonly #file: OpenFile;
  readonly #fileName: string;
  #buffer: Buffer = Buffer.alloc(0);
  /** Index in the buffer of the next byte. */
  #index = 0;
  /** Offset in the file of the buffer's end. */
  #end = 0;

  constructor(file: OpenFile, fileName: string) {
    this.#file = file;
    this.#fileName = fileName;
  }

  /** Offset in the file of the next byte. */
  get position(): number {
    return this.#end - this.#buffer.length + this.#index;
  }

  /** Bytes of the file behind the position. */
  get remaining(): number {
    return this.#file.sizeBytes - this.position;
  }

  has(length: number): boolean {
    return this.#buffer.length - this.#index >= length;
  }

  /**
   * Makes `length` bytes ready to take; an error when the file (or a header's limit) ends before.
   */
  async fill(length: number, what: string): Promise<void> {
    if (length > this.remaining) {
      throw brokenFile(
        this.#fileName,
        `it is cut short: ${what} at byte ${this.position} needs ${length} bytes, ` +
          `but ${this.remaining} are left`,
      );
    }
    if (this.position + length > limits.ggufHeaderMaxBytes) {
      throw brokenFile(
        this.#fileName,
        `its header is larger than ${limits.ggufHeaderMaxBytes} bytes`,
      );
    }
    const pieces: Buffer[] = [this.#buffer.subarray(this.#index)];
    let ready = this.#buffer.length - this.#index;
    while (ready < length) {
      const wanted = Math.max(length - ready, limits.ggufReadBytes);
      const bytes = await this.#file.read(this.#end, Math.min(wanted, limits.ggufReadBytes));
      if (bytes.length === 0) {
        throw brokenFile(this.#fileName, `it became shorter than ${this.#file.sizeBytes} bytes`);
      }
      pieces.push(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));
      ready += bytes.length;
      this.#end += bytes.length;
    }
    this.#buffer = Buffer.concat(pieces);
    this.#index = 0;
  }

  async ready(length: number, what: string): Promise<void> {
    if (!this.has(length)) await this.fill(length, what);
  }

  /** The next `length` bytes, which `ready` made sure of; valid until the next `ready`. */
  take(length: number): Buffer {
    const start = this.#index;
    this.#index += length;
    return this.#buffer.subarray(start, this.#index);
  }

  takeU32(): number {
    const value = this.#buffer.readUInt32LE(this.#index);
    this.#index += 4;
    return value;
  }

  /**
   * A count or length; past 2^53 it is rounded, which only makes an absurd number differently
   * absurd.
   */
  takeU64(): number {
    return this.takeU32() + this.takeU32() * 2 ** 32;
  }

  takeText(length: number): string {
    const start = this.#index;
    this.#index += length;
    return this.#buffer.toString('utf8', start, this.#index);
  }
}
