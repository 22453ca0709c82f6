import { invariant } from '../base/error.ts';
import type { TensorEntry, TensorTransform } from '../model/manifest.ts';
import type { Model } from '../model/model.ts';
import type { ParameterSource, TensorPart } from './addon.ts';

/** Where the addon reads each parameter of a model, and how many bytes that is. */
export function parameterSources(model: Model): { source: ParameterSource; bytes: number }[] {
  const { sources } = model;
  invariant(sources !== null, 'a model without tensors is loaded');
  return sources.map(({ parameter, parts }) => ({
    source: { parameter, parts: parts.map(({ role, entry }) => tensorPart(role, entry)) },
    bytes: parts.reduce((sum, { entry }) => sum + entry.byteLength, 0),
  }));
}

function tensorPart(role: TensorPart['role'], entry: TensorEntry): TensorPart {
  const { format, shape, file, offset, byteLength, transforms } = entry;
  const rows = Math.max(1, shape.length > 1 ? (shape[0] ?? 1) : 1);
  const rowBytes = byteLength / rows;
  const piece = { file, offset, rowBytes, rowStride: rowBytes, rowCount: rows };
  return {
    role,
    format,
    shape,
    unpermuteHeads: transforms.reduce(
      (heads, t) => (t.kind === 'unpermuteRope' ? t.heads : heads),
      0,
    ),
    add: transforms.reduce((sum, t) => sum + addend(t), 0),
    pieces: [piece],
  };
}

function addend(transform: TensorTransform): number {
  return transform.kind === 'add' ? transform.value : 0;
}
