import type { FieldKind, OperationName, operations } from './operations.ts';
import type { TensorFormat } from './manifest.ts';

/** Columns [column, column + width) of a buffer. */
export interface Columns {
  readonly buffer: number;
  readonly column: number;
  readonly width: number;
}

type FieldValue<Kind extends FieldKind> = Kind extends 'output' | 'input'
  ? Columns
  : Kind extends 'optionalInput'
    ? Columns | null
    : Kind extends 'optionalParameter' | 'optionalRope'
      ? number | null
      : number;

/** One operation with its fields by name. */
export type Operation = {
  [Name in OperationName]: {
    readonly kind: Name;
    readonly fields: {
      readonly [Field in keyof (typeof operations)[Name]['fields']]: FieldValue<
        (typeof operations)[Name]['fields'][Field] & FieldKind
      >;
    };
  };
}[OperationName];

/**
 * A named matrix of activations: one row a token of the step, or one row a token whose logits are
 * wanted.
 */
export interface ProgramBuffer {
  readonly name: string;
  readonly width: number;
  readonly domain: 'tokens' | 'selected';
}

/** How a parameter's values are stored; decided by the file, and the same on every executor. */
export type ParameterStorage =
  | { readonly kind: 'dense' }
  /** value = word * scale + bias over groups along the last dimension (MLX affine). */
  | { readonly kind: 'affine'; readonly bits: number; readonly group: number }
  /** MLX's mxfp4: 4-bit floats with an 8-bit exponent a group of 32. */
  | { readonly kind: 'mxfp4' }
  /** A GGUF block format as it lies in the file. */
  | { readonly kind: 'block'; readonly format: TensorFormat };

export interface ProgramParameter {
  /** mlx-lm's sanitized path, such as `model.layers.0.self_attn.q_proj.weight`. */
  readonly path: string;
  /** Logical shape, outermost first. */
  readonly shape: readonly number[];
  readonly storage: ParameterStorage;
}

/**
 * Rotary positions. The angle of pair i at position p is p * scale / frequencies[i] where
 * `frequencies` is given (wavelengths over 2 pi, as MLX takes them), else p * scale * base^(-2i /
 * width). The rotary part of q and k is first multiplied by `preScale`. `width` columns are
 * rotated, the rest passes.
 *
 * A dynamic rope (`dynamicFrom` > 0, no frequencies) stretches its base past the length it was
 * trained for: at a position p >= dynamicFrom, base becomes base * (dynamicFactor * (p + 1) /
 * dynamicFrom - (dynamicFactor - 1))^(width / (width - 2)). That is mlx-lm's rule for a step of one
 * token, applied to every position, so that the chunks of a prompt do not change its keys.
 */
export interface ProgramRope {
  readonly width: number;
  /** True: pairs are neighbours (2i, 2i + 1); false: (i, i + width / 2). */
  readonly traditional: boolean;
  readonly base: number;
  readonly scale: number;
  readonly preScale: number;
  readonly dynamicFactor: number;
  /** 0: the rope is not dynamic. */
  readonly dynamicFrom: number;
  readonly frequencies: readonly number[] | null;
}

/** Keys and values of one attention layer. */
export interface ProgramCache {
  readonly keyHeads: number;
  readonly headWidth: number;
  readonly valueWidth: number;
  /** Positions that later queries may still see; 0 means all. */
  readonly window: number;
}

/** The flat list of operations that one step runs, on one of the ranks that share a model. */
export interface Program {
  /** Of the whole model, whatever part of it this rank has. */
  readonly vocabulary: number;
  /** Positions that the model was made for. */
  readonly contextLength: number;
  readonly rank: number;
  readonly ranks: number;
  readonly buffers: readonly ProgramBuffer[];
  readonly parameters: readonly ProgramParameter[];
  readonly ropes: readonly ProgramRope[];
  readonly caches: readonly ProgramCache[];
  /** Width of every rank's part in what is gathered; `allGather` names one by its index. */
  readonly layouts: readonly (readonly number[])[];
  readonly operations: readonly Operation[];
}
