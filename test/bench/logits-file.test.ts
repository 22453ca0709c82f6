import { describe, expect, it } from 'vitest';
import { logitRows, scoreRow } from '../../bench/measures/logits-file.ts';

function file(values: readonly number[], shape: readonly number[], bytes: number): Uint8Array {
  const logits = { dtype: 'F32', shape, data_offsets: [0, bytes] };
  // An odd length puts the data where no float may be read in place.
  const text = JSON.stringify({ logits });
  const header = new TextEncoder().encode(text.length % 2 === 0 ? `${text} ` : text);
  const length = new Uint8Array(new BigUint64Array([BigInt(header.length)]).buffer);
  const data = new Uint8Array(new Float32Array(values).buffer);
  return Buffer.concat([length, header, data]);
}

describe('a file of logits', () => {
  it('comes apart into rows', () => {
    const rows = logitRows(file([1, 2, 3, 4, 5, 6], [2, 3], 24));
    expect(rows.map((row) => [...row])).toEqual([
      [1, 2, 3],
      [4, 5, 6],
    ]);
  });

  it('is refused when it is cut or its shape is another', () => {
    const message = 'the logits file is cut or has another shape';
    expect(() => logitRows(file([1, 2, 3], [2, 3], 24))).toThrow(message);
    expect(() => logitRows(file([1, 2, 3, 4, 5, 6], [2, 2], 24))).toThrow(message);
  });
});

describe('the score of a row', () => {
  it('is the top token and the loss of the target', () => {
    const row = new Float32Array([Math.log(1), Math.log(6), Math.log(3)]);
    expect(scoreRow(row, 2).top).toBe(1);
    expect(scoreRow(row, 2).loss).toBeCloseTo(-Math.log(0.3), 6);
    expect(scoreRow(row, 1).loss).toBeCloseTo(-Math.log(0.6), 6);
  });

  it('takes the first of equal ones and no overflow', () => {
    const { top, loss } = scoreRow(new Float32Array([900, 1_000, 1_000]), 2);
    expect(top).toBe(1);
    expect(loss).toBeCloseTo(Math.log(2), 6);
  });
});
