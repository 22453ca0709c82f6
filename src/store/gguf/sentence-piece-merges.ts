import { tokenKinds } from './vocabulary.ts';

/** Two pieces that join; where several can, the one that stands first in the list wins. */
export type Merge = readonly [left: string, right: string];

/**
 * The merge list of a SentencePiece BPE, which keeps only pieces and their scores. Every way to cut
 * a piece into two pieces is a merge; merges are tried by falling score of the whole piece, then by
 * falling lengths of left and right in code points, then in the order of the pieces (as
 * transformers' SentencePieceExtractor makes it; compared with gemma 3's published list, 514,906
 * merges, all equal).
 *
 * User-defined pieces have score 0 in a SentencePiece model, which llama.cpp's files replace by
 * another.
 */
export function sentencePieceMerges(
  tokens: readonly string[],
  scores: ArrayLike<number>,
  kinds: ArrayLike<number> | null,
): Merge[] {
  const known = new Set(tokens);
  const pieces = tokens.flatMap((text, id) => {
    const kind = kinds?.[id] ?? tokenKinds.normal;
    if (kind === tokenKinds.userDefined) return [{ text, score: 0 }];
    return kind === tokenKinds.normal ? [{ text, score: scores[id] ?? 0 }] : [];
  });
  pieces.sort((a, b) => b.score - a.score);
  const merges: Merge[] = [];
  for (let start = 0; start < pieces.length; ) {
    const first = pieces[start];
    let end = start + 1;
    while (pieces[end]?.score === first?.score && end < pieces.length) end += 1;
    const texts = pieces.slice(start, end).map(({ text }) => text);
    for (const merge of mergesOfOneScore(texts, known)) merges.push(merge);
    start = end;
  }
  return merges;
}

/** Nearly always one piece has a score, and its cuts come in the right order already. */
function mergesOfOneScore(pieces: readonly string[], known: ReadonlySet<string>): Merge[] {
  const merges = pieces.flatMap((piece) => cutsOf(piece, known));
  if (pieces.length === 1) return merges;
  return merges
    .map((merge) => ({ merge, left: codePoints(merge[0]), right: codePoints(merge[1]) }))
    .sort((a, b) => b.left - a.left || b.right - a.right)
    .map(({ merge }) => merge);
}

/** Ways to cut a piece into two others, the longest left first. */
function cutsOf(piece: string, known: ReadonlySet<string>): Merge[] {
  const merges: Merge[] = [];
  for (let at = piece.length - 1; at > 0; at -= 1) {
    // The second half of a surrogate pair belongs to the character before it.
    if (isLowSurrogate(piece.charCodeAt(at))) continue;
    const left = piece.slice(0, at);
    if (!known.has(left)) continue;
    const right = piece.slice(at);
    if (known.has(right)) merges.push([left, right]);
  }
  return merges;
}

function codePoints(text: string): number {
  let count = 0;
  for (let at = 0; at < text.length; at += 1) {
    if (!isLowSurrogate(text.charCodeAt(at))) count += 1;
  }
  return count;
}

function isLowSurrogate(code: number): boolean {
  return code >= 0xdc00 && code <= 0xdfff;
}
