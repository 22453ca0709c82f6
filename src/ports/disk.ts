/** A file that is open for reading. */
export interface OpenFile {
  readonly sizeBytes: number;
  /** Reads up to `length` bytes at `offset`; fewer only at the end of the file. */
  read(offset: number, length: number): Promise<Uint8Array>;
  close(): Promise<void>;
}

/** A file that is open for writing at any offset. */
export interface WritableFile {
  write(offset: number, bytes: Uint8Array): Promise<void>;
  /** Returns when what was written is on the disk itself. */
  sync(): Promise<void>;
  truncate(sizeBytes: number): Promise<void>;
  close(): Promise<void>;
}

export interface FileFacts {
  readonly kind: 'file' | 'folder';
  readonly sizeBytes: number;
  readonly modifiedMs: number;
}

/** The disk, as far as anything but `platform/` sees it. Paths are absolute. */
export interface Disk {
  open(path: string): Promise<OpenFile>;
  openForWriting(path: string): Promise<WritableFile>;
  readText(path: string, maxBytes: number): Promise<string>;
  /**
   * Writes beside the path, syncs, and renames over it: a reader sees the old or the new text,
   * never half.
   */
  writeTextAtomically(path: string, text: string): Promise<void>;
  /** Facts of what the path leads to (links followed), or null when nothing is there. */
  facts(path: string): Promise<FileFacts | null>;
  /** Names in a folder, sorted; empty when the folder is missing. */
  list(path: string): Promise<string[]>;
  makeFolder(path: string): Promise<void>;
  rename(from: string, to: string): Promise<void>;
  /** A relative symbolic link at `path`, replacing a link that is there. */
  link(target: string, path: string): Promise<void>;
  /** The path with every link followed. */
  realPath(path: string): Promise<string>;
  remove(path: string): Promise<void>;
  /**
   * Bytes that may still be written to the file system that holds the path (or its nearest parent).
   */
  freeBytes(path: string): Promise<number>;
}
