/** Bytes from `start` up to, not including, `end`. */
export interface ByteRange {
  readonly start: number;
  readonly end: number;
}

/** Disjoint, not touching, in order: the form in which the functions here return ranges. */
export type ByteRanges = readonly ByteRange[];

/** The ranges with one more, joined where they meet. */
export function addRange(ranges: ByteRanges, added: ByteRange): ByteRanges {
  if (added.end <= added.start) return ranges;
  let { start, end } = added;
  const apart: ByteRange[] = [];
  for (const range of ranges) {
    if (range.end < start || range.start > end) {
      apart.push(range);
    } else {
      start = Math.min(start, range.start);
      end = Math.max(end, range.end);
    }
  }
  return [...apart, { start, end }].sort((a, b) => a.start - b.start);
}

export function totalBytes(ranges: ByteRanges): number {
  return ranges.reduce((sum, { start, end }) => sum + end - start, 0);
}

/** What of [0, sizeBytes) the ranges leave out. */
export function missingRanges(ranges: ByteRanges, sizeBytes: number): ByteRanges {
  const missing: ByteRange[] = [];
  let position = 0;
  for (const { start, end } of ranges) {
    if (start > position) missing.push({ start: position, end: Math.min(start, sizeBytes) });
    position = Math.max(position, end);
  }
  if (position < sizeBytes) missing.push({ start: position, end: sizeBytes });
  return missing;
}

/** The part of the ranges that lies below a size. */
export function clipRanges(ranges: ByteRanges, sizeBytes: number): ByteRanges {
  return ranges
    .filter(({ start }) => start < sizeBytes)
    .map(({ start, end }) => ({ start, end: Math.min(end, sizeBytes) }));
}

/** The ranges cut into pieces of at most `pieceBytes`. */
export function cutRanges(ranges: ByteRanges, pieceBytes: number): ByteRange[] {
  return ranges.flatMap(({ start, end }) => {
    const count = Math.ceil((end - start) / pieceBytes);
    return Array.from({ length: count }, (_, index) => ({
      start: start + index * pieceBytes,
      end: Math.min(start + (index + 1) * pieceBytes, end),
    }));
  });
}
