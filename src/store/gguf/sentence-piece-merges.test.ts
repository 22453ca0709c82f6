import { expect, it } from 'vitest';
import { sentencePieceMerges } from './sentence-piece-merges.ts';

it('merges stand by the score of the whole piece, then by lengths, then by ids', () => {
  const tokens = ['a', 'b', 'ab', 'aba', 'ba'];
  const scores = [-10, -11, -1, -3, -2];
  expect(sentencePieceMerges(tokens, scores, null)).toEqual([
    ['a', 'b'],
    ['b', 'a'],
    ['ab', 'a'],
    ['a', 'ba'],
  ]);
});

it('user-defined pieces come first, control and byte pieces make none', () => {
  const tokens = ['x', '\n', '\n\n', 'xx', '<0x0A>', '<0x0A>x', '\n\n\n'];
  const kinds = [1, 4, 4, 1, 6, 3, 4];
  expect(sentencePieceMerges(tokens, [-9, -1000, -1000, -1, 0, 0, -1000], kinds)).toEqual([
    ['\n\n', '\n'],
    ['\n', '\n\n'],
    ['\n', '\n'],
    ['x', 'x'],
  ]);
});

it('characters outside of the basic plane are one character', () => {
  const tokens = ['😀', '\ud83d', '\ude00', 'a', '😀a'];
  expect(sentencePieceMerges(tokens, [0, 0, 0, 0, 0], null)).toEqual([['😀', 'a']]);
});
