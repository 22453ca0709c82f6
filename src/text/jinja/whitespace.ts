/**
 * Python's white space (str.isspace), as the inside of a character class; JavaScript's `\s`
 * differs.
 */
export const whitespaceClass =
  '\\t\\n\\v\\f\\r\\x1c-\\x1f \\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000';

const space = new RegExp(`^[${whitespaceClass}]$`);

export function isWhitespace(unit: string): boolean {
  return space.test(unit);
}

/** Where the text starts and ends without the units on either side that `drop` accepts. */
export function innerRange(
  text: string,
  drop: (unit: string) => boolean,
  sides: { left: boolean; right: boolean },
): [number, number] {
  let [start, end] = [0, text.length];
  if (sides.left) while (start < end && drop(text.charAt(start))) start += 1;
  if (sides.right) while (end > start && drop(text.charAt(end - 1))) end -= 1;
  return [start, end];
}
