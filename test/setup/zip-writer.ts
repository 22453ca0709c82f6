import { crc32, deflateRawSync } from 'node:zlib';

/** A file of a zip archive; what is given overrides what would be true. */
export interface ZipPart {
  readonly name: string;
  readonly content?: Buffer;
  readonly stored?: boolean;
  readonly mode?: number;
  readonly method?: number;
  readonly flags?: number;
  readonly crc?: number;
  readonly sizeBytes?: number;
  readonly packedBytes?: number;
  readonly offset?: number;
}

/** A zip archive, sound unless a part says otherwise. */
export function zipOf(parts: readonly ZipPart[], comment = ''): Buffer {
  const bodies: Buffer[] = [];
  const entries: Buffer[] = [];
  let offset = 0;
  for (const part of parts) {
    const content = part.content ?? Buffer.alloc(0);
    const packed = part.stored === true ? content : deflateRawSync(content);
    const name = Buffer.from(part.name);
    const local = Buffer.alloc(30);
    local.writeUInt32LE(0x04034b50, 0);
    local.writeUInt16LE(name.length, 26);
    bodies.push(local, name, packed);
    entries.push(directoryEntry(part, { content, packed, name, offset }));
    offset += local.length + name.length + packed.length;
  }
  const directory = Buffer.concat(entries);
  const end = Buffer.alloc(22);
  end.writeUInt32LE(0x06054b50, 0);
  end.writeUInt16LE(parts.length, 8);
  end.writeUInt16LE(parts.length, 10);
  end.writeUInt32LE(directory.length, 12);
  end.writeUInt32LE(offset, 16);
  end.writeUInt16LE(Buffer.byteLength(comment), 20);
  return Buffer.concat([...bodies, directory, end, Buffer.from(comment)]);
}

interface Truth {
  readonly content: Buffer;
  readonly packed: Buffer;
  readonly name: Buffer;
  readonly offset: number;
}

function directoryEntry(part: ZipPart, { content, packed, name, offset }: Truth): Buffer {
  const entry = Buffer.alloc(46);
  entry.writeUInt32LE(0x02014b50, 0);
  entry.writeUInt16LE(part.flags ?? 0, 8);
  entry.writeUInt16LE(part.method ?? (part.stored === true ? 0 : 8), 10);
  entry.writeUInt32LE(part.crc ?? crc32(content), 16);
  entry.writeUInt32LE(part.packedBytes ?? packed.length, 20);
  entry.writeUInt32LE(part.sizeBytes ?? content.length, 24);
  entry.writeUInt16LE(name.length, 28);
  entry.writeUInt32LE(((part.mode ?? 0o100644) << 16) >>> 0, 38);
  entry.writeUInt32LE(part.offset ?? offset, 42);
  return Buffer.concat([entry, name]);
}
