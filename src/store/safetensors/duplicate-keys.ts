/** One object that the scan is inside of; arrays need no memory of their keys. */
interface OpenContainer {
  readonly keys: Set<string> | null;
}

/**
 * The first key that an object of this JSON text holds twice, or null. `JSON.parse` keeps the
 * last of them silently, which lets a file show one tensor to one reader and another to the next.
 * The text must be valid JSON already.
 */
export function findDuplicateKey(text: string): string | null {
  const stack: OpenContainer[] = [];
  let index = 0;
  while (index < text.length) {
    const character = text.charCodeAt(index);
    if (character === 0x22) {
      const end = endOfString(text, index);
      const keys = stack.at(-1)?.keys ?? null;
      if (keys !== null && isFollowedByColon(text, end)) {
        const key = unquote(text.slice(index, end));
        if (keys.has(key)) return key;
        keys.add(key);
      }
      index = end;
      continue;
    }
    if (character === 0x7b) stack.push({ keys: new Set() });
    else if (character === 0x5b) stack.push({ keys: null });
    else if (character === 0x7d || character === 0x5d) stack.pop();
    index += 1;
  }
  return null;
}

/** Index behind the closing quote of the string that opens at `start`. */
function endOfString(text: string, start: number): number {
  let index = start + 1;
  while (index < text.length) {
    const character = text.charCodeAt(index);
    if (character === 0x5c) index += 2;
    else if (character === 0x22) return index + 1;
    else index += 1;
  }
  return text.length;
}

function isFollowedByColon(text: string, index: number): boolean {
  let at = index;
  while (at < text.length && text.charCodeAt(at) <= 0x20) at += 1;
  return text.charCodeAt(at) === 0x3a;
}

/** The value of a JSON string literal; two spellings of one key ("a" and "\u0061") are one key. */
function unquote(literal: string): string {
  return literal.includes('\\') ? String(JSON.parse(literal)) : literal.slice(1, -1);
}
