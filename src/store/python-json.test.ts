import { expect, it } from 'vitest';
import { parsePythonJson } from './python-json.ts';

it('plain JSON is what it is', () => {
  expect(parsePythonJson('{"a":[1,null,"NaN"]}')).toEqual({ a: [1, null, 'NaN'] });
});

it('bare floats become tagged ones, and texts that look like them stay', () => {
  const text = '{"limit": [0.0, Infinity], "low": -Infinity, "x": NaN, "s": "\\"-Infinity, NaN"}';
  expect(parsePythonJson(text)).toEqual({
    limit: [0, { __float__: 'Infinity' }],
    low: { __float__: '-Infinity' },
    x: { __float__: 'NaN' },
    s: '"-Infinity, NaN',
  });
});

it('numbers that overflow become tagged ones', () => {
  expect(parsePythonJson('[1e999,-1e999]')).toEqual([
    { __float__: 'Infinity' },
    { __float__: '-Infinity' },
  ]);
});

it('what is neither is refused', () => {
  expect(() => parsePythonJson('{"a": Nan}')).toThrow(SyntaxError);
  expect(() => parsePythonJson('{"a": NaN')).toThrow(SyntaxError);
});

it('a text of a million characters does not exhaust the stack', () => {
  const long = 'x\\\\'.repeat(300_000);
  expect(parsePythonJson(`["${long}", NaN]`)).toEqual([
    'x\\'.repeat(300_000),
    { __float__: 'NaN' },
  ]);
});
