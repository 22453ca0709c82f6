/**
 * JavaScript's own searches take the product of both lengths in the worst case and cannot be
 * stopped meanwhile, not even by ending the thread: a template with two texts of a few megabytes
 * would hold a processor for hours. They get needles of at most this length, and the rest is
 * compared here, in steps between which the thread can be ended.
 */
const headMaxUnits = 64;

/** As `text.indexOf(needle, from)`. */
export function indexOf(text: string, needle: string, from: number = 0): number {
  const head = needle.slice(0, headMaxUnits);
  let at = text.indexOf(head, from);
  while (at >= 0 && !text.startsWith(needle, at)) at = text.indexOf(head, at + 1);
  return at;
}

/** As `text.lastIndexOf(needle, from)`. */
export function lastIndexOf(text: string, needle: string, from: number = Infinity): number {
  const head = needle.slice(0, headMaxUnits);
  let at = from < 0 ? -1 : text.lastIndexOf(head, from);
  while (at >= 0 && !text.startsWith(needle, at)) {
    at = at === 0 ? -1 : text.lastIndexOf(head, at - 1);
  }
  return at;
}
