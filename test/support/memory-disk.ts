import { CideryError } from '../../src/base/error.ts';
import type { Disk, FileFacts, OpenFile, WritableFile } from '../../src/ports/disk.ts';

/** A file in memory that remembers the largest single read and how many bytes were read in all. */
export class MemoryFile implements OpenFile {
  readonly sizeBytes: number;
  largestRead = 0;
  bytesRead = 0;
  readonly #bytes: Uint8Array;

  constructor(bytes: Uint8Array, claimedSizeBytes: number = bytes.length) {
    this.#bytes = bytes;
    this.sizeBytes = claimedSizeBytes;
  }

  async read(offset: number, length: number): Promise<Uint8Array> {
    this.largestRead = Math.max(this.largestRead, length);
    const bytes = this.#bytes.slice(offset, offset + length);
    this.bytesRead += bytes.length;
    return bytes;
  }

  async close(): Promise<void> {}
}

/** A disk in memory: files by absolute path; folders are there when a file is in them. */
export class MemoryDisk implements Disk {
  readonly files = new Map<string, Uint8Array>();
  readonly opened: string[] = [];
  readonly written: string[] = [];
  /** Files that are open now: a reader that forgets to close one is seen. */
  openCount = 0;

  put(path: string, content: string | Uint8Array): void {
    this.files.set(path, typeof content === 'string' ? Buffer.from(content) : content);
  }

  async open(path: string): Promise<OpenFile> {
    this.opened.push(path);
    const file = new MemoryFile(this.#bytes(path));
    this.openCount += 1;
    return {
      sizeBytes: file.sizeBytes,
      read: (offset, length) => file.read(offset, length),
      close: async () => {
        this.openCount -= 1;
      },
    };
  }

  async openForWriting(_path: string): Promise<WritableFile> {
    throw new CideryError('internal', 'this disk writes whole texts only');
  }

  async readText(path: string, maxBytes: number): Promise<string> {
    const bytes = this.#bytes(path);
    if (bytes.length > maxBytes) throw new CideryError('file_too_large', `${path} is too large`);
    return Buffer.from(bytes).toString('utf8');
  }

  async writeTextAtomically(path: string, text: string): Promise<void> {
    this.written.push(path);
    this.put(path, text);
  }

  async facts(path: string): Promise<FileFacts | null> {
    const bytes = this.files.get(path);
    if (bytes !== undefined) return { kind: 'file', sizeBytes: bytes.length, modifiedMs: 1 };
    const inside = [...this.files.keys()].some((name) => name.startsWith(`${path}/`));
    return inside ? { kind: 'folder', sizeBytes: 0, modifiedMs: 1 } : null;
  }

  async list(path: string): Promise<string[]> {
    const names = new Set<string>();
    for (const name of this.files.keys()) {
      if (name.startsWith(`${path}/`)) names.add(name.slice(path.length + 1).split('/')[0] ?? '');
    }
    return [...names].sort();
  }

  async makeFolder(_path: string): Promise<void> {}

  async rename(from: string, to: string): Promise<void> {
    this.files.set(to, this.#bytes(from));
    this.files.delete(from);
  }

  async link(target: string, path: string): Promise<void> {
    this.files.set(path, this.#bytes(target));
  }

  async realPath(path: string): Promise<string> {
    return path;
  }

  async remove(path: string): Promise<void> {
    this.files.delete(path);
  }

  async freeBytes(_path: string): Promise<number> {
    return 2 ** 40;
  }

  #bytes(path: string): Uint8Array {
    const bytes = this.files.get(path);
    if (bytes === undefined) throw new CideryError('file_missing', `${path} is not there`);
    return bytes;
  }
}
