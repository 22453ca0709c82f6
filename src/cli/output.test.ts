import { InvalidArgumentError } from 'commander';
import { describe, expect, test } from 'vitest';
import { CideryError } from '../base/error.ts';
import { byteCount, probability, seedDigits } from './arguments.ts';
import { createOutput, formatBytes, formatDuration, table } from './output.ts';
import { barLine, startProgress } from './progress.ts';
import { errorLine } from './report-error.ts';

class Sink {
  text = '';
  readonly isTTY: boolean;
  readonly columns = 60;

  constructor(isTTY: boolean) {
    this.isTTY = isTTY;
  }

  write(text: string): void {
    this.text += text;
  }
}

describe('output', () => {
  test('JSON keeps everything else off standard output', () => {
    const [stdout, stderr] = [new Sink(false), new Sink(false)];
    const output = createOutput(true, stdout, stderr);
    output.line('a line');
    output.text('text');
    output.value({ a: 1 });
    output.note('a note');
    expect([stdout.text, stderr.text]).toEqual(['{"a":1}\n', 'a note\n']);
  });

  test('without it values are left out', () => {
    const [stdout, stderr] = [new Sink(true), new Sink(true)];
    const output = createOutput(false, stdout, stderr);
    output.value({ a: 1 });
    output.line('a line');
    expect([stdout.text, output.interactive]).toEqual(['a line\n', true]);
  });

  test('a table', () => {
    expect(
      table(
        ['ID', 'SIZE'],
        [
          ['long-name', '1'],
          ['b', '22'],
        ],
      ),
    ).toBe('ID         SIZE\nlong-name  1\nb          22');
  });

  test.each([
    [0, '0 B'],
    [999, '999 B'],
    [1_000, '1.0 kB'],
    [999_499, '999 kB'],
    [999_500, '1.0 MB'],
    [98_362_432, '98.4 MB'],
    [25_300_000_000, '25.3 GB'],
    [5e15, '5000 TB'],
  ])('%d bytes', (bytes, expected) => expect(formatBytes(bytes)).toBe(expected));

  test.each([
    [12.4, '12 ms'],
    [1_234, '1.2 s'],
    [250_000, '4 min 10 s'],
    [11_100_000, '3 h 5 min'],
  ])('%d ms', (ms, expected) => expect(formatDuration(ms)).toBe(expected));

  test('an error is one line, whatever its message', () => {
    const error = new CideryError('c', 'what\n  is wrong', { hint: 'do\nthis' });
    expect(errorLine(error)).toBe('what is wrong; do this');
    expect(errorLine('text')).toBe('text');
  });
});

describe('progress', () => {
  test('a bar with rate and time left; without a total only the count', () => {
    expect(barLine('fetching m', 5e6, 2e7, 5e5)).toBe(
      'fetching m  [#######.....................]  25%  5.0 MB of 20.0 MB  500 kB/s  30.0 s left',
    );
    expect(barLine('m', 5e6, 0, null)).toBe('m  5.0 MB');
    expect(barLine('m', 3, 2, null)).toContain('100%');
  });

  test('on a terminal it is redrawn within the width, not too often, and taken away', () => {
    const stderr = new Sink(true);
    let now = 0;
    const bar = startProgress('m', createOutput(false, stderr, stderr), stderr, () => now);
    bar.update(1, 10, null);
    const once = stderr.text;
    bar.update(2, 10, null);
    expect(stderr.text).toBe(once);
    now = 1_000;
    bar.update(5, 10, 1);
    bar.end();
    const drawn = stderr.text.split('\r\u001B[2K').slice(1);
    expect(drawn.length).toBe(3);
    expect(Math.max(...drawn.map((line) => line.length))).toBeLessThan(60);
    expect(drawn.at(-1)).toBe('');
  });

  test('elsewhere it is one line', () => {
    const stderr = new Sink(false);
    const bar = startProgress('fetching m', createOutput(false, stderr, stderr), stderr, () => 0);
    bar.update(0, 0, null);
    bar.update(0, 1e6, null);
    bar.update(1e6, 1e6, null);
    bar.end();
    expect(stderr.text).toBe('fetching m (1.0 MB)\n');
  });
});

describe('arguments', () => {
  test.each([
    ['4096', 4_096],
    ['1.5GB', 1_500_000_000],
    ['512MiB', 536_870_912],
    ['2 gib', 2_147_483_648],
  ])('%s is a number of bytes', (text, bytes) => expect(byteCount(text)).toBe(bytes));

  test.each(['', '-1', '0', '1parsec', '1e400', 'GB', '0x10'])('%j is none', (text) => {
    expect(() => byteCount(text)).toThrow(InvalidArgumentError);
  });

  test('seeds of 64 bits, negative ones by their pattern', () => {
    expect(seedDigits('18446744073709551615')).toBe('18446744073709551615');
    expect(seedDigits('-1')).toBe('18446744073709551615');
    expect(() => seedDigits('1.5')).toThrow(InvalidArgumentError);
  });

  test('probabilities', () => {
    expect(probability('0.9')).toBe(0.9);
    for (const text of ['', ' ', 'x', '1.1', '-0.1', 'NaN']) {
      expect(() => probability(text)).toThrow(InvalidArgumentError);
    }
  });
});
