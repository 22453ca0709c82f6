import { invariant } from '../../base/error.ts';
import type { ModelParameter } from '../parameters.ts';
import type { TensorEntry } from '../manifest.ts';
import type { ParameterPart } from './parts.ts';
import type { Range } from './shares.ts';

/** What a rank reads of a tensor: a range of bytes in each of some rows. */
export interface TensorSlice {
  /** As stored. */
  readonly shape: readonly number[];
  /** Rows of the tensor, one below the other; the elements of a vector are its rows. */
  readonly rows: readonly Range[];
  readonly rowBytes: Range;
  /** Bytes from one row of the tensor to the next. */
  readonly rowStride: number;
  /** Heads whose rows lie in llama.cpp's order; 0: rows are in their order. */
  readonly unpermuteHeads: number;
}

/**
 * The slice of a tensor that holds a part of its parameter. Packed words, scales and blocks run
 * along a row as evenly as the columns do, so a range of whole groups is the same share of each.
 */
export function sliceTensor(
  entry: TensorEntry,
  parameter: ModelParameter,
  part: ParameterPart,
): TensorSlice {
  const [rowCount = 1] = entry.shape;
  const rowStride = entry.byteLength / Math.max(1, rowCount);
  const columnCount = parameter.shape[1] ?? 1;
  const along = (columns: number, size: number) => {
    const share = (size * columns) / columnCount;
    invariant(Number.isInteger(share), `${entry.name} cannot be cut at column ${columns}`);
    return share;
  };
  const { rows, columns } = part;
  const height = rows.reduce((sum, { count }) => sum + count, 0);
  return {
    shape:
      entry.shape.length === 1 ? [height] : [height, along(columns.count, entry.shape[1] ?? 1)],
    rows,
    rowBytes: {
      first: along(columns.first, rowStride),
      count: along(columns.count, rowStride),
    },
    rowStride,
    unpermuteHeads: headsOf(entry, rows),
  };
}

export function sliceBytes({ rows, rowBytes }: TensorSlice): number {
  return rows.reduce((sum, { count }) => sum + count * rowBytes.count, 0);
}

/** Heads in these rows of a tensor whose rows lie in llama.cpp's order; only whole ones can be. */
function headsOf(entry: TensorEntry, rows: readonly Range[]): number {
  const transform = entry.transforms.find(({ kind }) => kind === 'unpermuteRope');
  if (transform?.kind !== 'unpermuteRope') return 0;
  const headRows = (entry.shape[0] ?? 0) / transform.heads;
  const whole = rows.every(({ first, count }) => first % headRows === 0 && count % headRows === 0);
  invariant(whole, `${entry.name} cannot be cut within a head`);
  return rows.reduce((heads, { count }) => heads + count / headRows, 0);
}
