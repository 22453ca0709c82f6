import fc from 'fast-check';
import { expect, test } from 'vitest';
import { StopMatcher } from './stop-matcher.ts';

/** Everything that is shown of the pieces, what was shown of each, and the stop string. */
function run(stops: readonly string[], pieces: readonly string[]) {
  const matcher = new StopMatcher(stops);
  const shown: string[] = [];
  for (const piece of pieces) {
    const { text, stop } = matcher.push(piece);
    shown.push(text);
    if (stop !== null) return { shown, stop };
  }
  return { shown: [...shown, matcher.finish()], stop: null };
}

test('holds back only what may still become a stop string', () => {
  expect(run(['</s>'], ['a<', 'b<', '/s', 'x</', 's', '> gone'])).toEqual({
    shown: ['a', '<b', '', '</sx', '', ''],
    stop: '</s>',
  });
  expect(run(['END'], ['x E', 'N'])).toEqual({ shown: ['x ', '', 'EN'], stop: null });
});

test('a stop string that begins within another try is found', () => {
  expect(run(['aab'], ['a', 'a', 'a', 'b'])).toEqual({ shown: ['', '', 'a', ''], stop: 'aab' });
  expect(run(['abab', 'bac'], ['aba', 'c'])).toEqual({ shown: ['', 'a'], stop: 'bac' });
});

test('the one that is complete first counts, and of two that end together the longest', () => {
  expect(run(['abc', 'b'], ['ab', 'c'])).toEqual({ shown: ['a'], stop: 'b' });
  expect(run(['abc', 'b'], ['abc'])).toEqual({ shown: ['a'], stop: 'b' });
  expect(run(['b', 'ab'], ['xab'])).toEqual({ shown: ['x'], stop: 'ab' });
});

test('an empty stop string stops nothing', () => {
  expect(run(['', 'z'], ['ab'])).toEqual({ shown: ['ab', ''], stop: null });
});

test('cutting a text into pieces changes neither what is shown nor the stop string', () => {
  const letters = (max: number) =>
    fc.array(fc.constantFrom('a', 'b', '😀'), { maxLength: max }).map((parts) => parts.join(''));
  fc.assert(
    fc.property(
      fc.array(letters(4), { maxLength: 3 }),
      fc.array(letters(3), { maxLength: 12 }),
      (stops, pieces) => {
        const whole = run(stops, [pieces.join('')]);
        const cut = run(stops, pieces);
        expect(cut.stop).toBe(whole.stop);
        expect(cut.shown.join('')).toBe(whole.shown.join(''));
        const text = pieces.join('');
        const ends = stops
          .filter((stop) => stop !== '' && text.includes(stop))
          .map((stop) => text.indexOf(stop) + stop.length);
        const end = Math.min(...ends);
        const expected = ends.length === 0 ? text : text.slice(0, end - (whole.stop ?? '').length);
        expect(cut.shown.join('')).toBe(expected);
      },
    ),
    { numRuns: 2_000 },
  );
});
