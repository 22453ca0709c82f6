/** Deeper values than any schema or argument has; what walks them may recurse. */
const depthMax = 200;

/**
 * Characters that a JSON value's strings and keys have, with one for every other value; Infinity
 * when it is nested too deeply to walk. Stops counting beyond `max`.
 */
export function jsonSize(value: unknown, max: number, depth = 0): number {
  if (typeof value === 'string') return value.length;
  if (typeof value !== 'object' || value === null) return 1;
  if (depth > depthMax) return Infinity;
  let size = 1;
  for (const [key, inner] of Object.entries(value)) {
    size += (Array.isArray(value) ? 0 : key.length) + jsonSize(inner, max, depth + 1);
    if (size > max) return size;
  }
  return size;
}
