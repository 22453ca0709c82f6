import { invariant } from '../base/error.ts';
import type { TensorTransform } from '../model/manifest.ts';
import type { Model, ParameterTensors } from '../model/model.ts';
import { sliceBytes } from '../model/split/slices.ts';
import type { ParameterSource, TensorPart } from './addon.ts';

/** Where the addon reads each parameter of a model, and how many bytes that is. */
export function parameterSources(model: Model): { source: ParameterSource; bytes: number }[] {
  const { sources } = model;
  invariant(sources !== null, 'a model without tensors is loaded');
  return sources.map(({ parameter, parts }) => ({
    source: { parameter, parts: parts.map(tensorPart) },
    bytes: parts.reduce((sum, { slice }) => sum + sliceBytes(slice), 0),
  }));
}

/** A tensor's slice: a piece for each range of its rows. */
function tensorPart({ role, entry, slice }: ParameterTensors['parts'][number]): TensorPart {
  const { format, file, offset, transforms } = entry;
  const { shape, rows, rowBytes, rowStride } = slice;
  return {
    role,
    format,
    shape,
    unpermuteHeads: slice.unpermuteHeads,
    add: transforms.reduce((sum, t) => sum + addend(t), 0),
    pieces: rows.map(({ first, count }) => ({
      file,
      offset: offset + first * rowStride + rowBytes.first,
      rowBytes: rowBytes.count,
      rowStride,
      rowCount: count,
    })),
  };
}

function addend(transform: TensorTransform): number {
  return transform.kind === 'add' ? transform.value : 0;
}
