/**
 * What a Mach-O file for arm64 needs from elsewhere (Apple's mach-o/loader.h and nlist.h): just
 * enough to see whether an addon linked here would find all its symbols on a Mac.
 */

const magic64 = 0xfeedfacf;
const loadSymbolTable = 0x2;
const loadLibraries = new Set([0xc, 0x80000018, 0x8000001f]);
const symbolBytes = 16;
/** n_type: the bits of a debugger's entry, and those that say where a symbol is defined. */
const debugBits = 0xe0;
const typeBits = 0x0e;
/** The library ordinal of a symbol that is looked for in the whole process at load time. */
const dynamicLookup = 0xfe;

/**
 * @typedef {{ name: string, library: string | undefined }} NeededSymbol undefined: whatever the
 *   process holds when the file is loaded
 */

/**
 * The undefined symbols of a Mach-O file, each with the library that it was bound to.
 * @param {Buffer} bytes
 * @returns {NeededSymbol[]}
 */
export function neededSymbols(bytes) {
  if (bytes.readUInt32LE(0) !== magic64) throw new Error('not a 64-bit Mach-O file');
  /** @type {string[]} */
  const libraries = [];
  let table = { symbols: 0, count: 0, strings: 0 };
  let at = 32;
  for (let left = bytes.readUInt32LE(16); left > 0; left--) {
    const command = bytes.readUInt32LE(at);
    if (loadLibraries.has(command)) libraries.push(text(bytes, at + bytes.readUInt32LE(at + 8)));
    if (command === loadSymbolTable) {
      const [symbols, count] = [bytes.readUInt32LE(at + 8), bytes.readUInt32LE(at + 12)];
      table = { symbols, count, strings: bytes.readUInt32LE(at + 16) };
    }
    at += bytes.readUInt32LE(at + 4);
  }
  const needed = [];
  for (let index = 0; index < table.count; index++) {
    const entry = table.symbols + index * symbolBytes;
    const type = bytes.readUInt8(entry + 4);
    if ((type & debugBits) !== 0 || (type & typeBits) !== 0) continue;
    const ordinal = bytes.readUInt16LE(entry + 6) >> 8;
    const name = text(bytes, table.strings + bytes.readUInt32LE(entry));
    needed.push({ name, library: ordinal === dynamicLookup ? undefined : libraries[ordinal - 1] });
  }
  return needed;
}

/**
 * @param {Buffer} bytes
 * @param {number} at
 */
function text(bytes, at) {
  return bytes.toString('utf8', at, bytes.indexOf(0, at));
}
