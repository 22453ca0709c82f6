import { z } from 'zod';
import { limits } from '../base/limits.ts';
import { contextLength, type Config, configInvalid, positiveScalar, readConfig } from './config.ts';
import type { ProgramRope } from './program.ts';

/** What a rope is made from; `scaling` is the config's `rope_scaling`. */
export interface RopeRequest {
  /** Columns of a head that are rotated. */
  readonly width: number;
  readonly theta: number;
  readonly traditional: boolean;
  readonly scaling: Config | null;
  /** `max_position_embeddings`; null where the config has none. */
  readonly positions: number | null;
}

/**
 * Rotary positions as mlx-lm's `rope_utils.py` makes them. Frequencies are computed with every step
 * rounded to 32 bits, as MLX does.
 * @throws CideryError `model_config_invalid`
 */
export function makeRope(request: RopeRequest): ProgramRope {
  if (request.width < 2 || request.width % 2 !== 0) {
    throw configInvalid('head_dim', `a rotary part of ${request.width} columns has no pairs`);
  }
  if (!(request.theta > 1 && request.theta <= 1e30)) {
    throw configInvalid('rope_theta', `${request.theta} is no base of frequencies`);
  }
  const scaling = request.scaling ?? {};
  const kind = scaling['type'] || scaling['rope_type'] || 'default';
  switch (kind) {
    case 'default':
    case 'mrope':
      return plainRope(request);
    case 'linear':
      return { ...plainRope(request), scale: 1 / readScaling(linearSchema, scaling).factor };
    case 'dynamic':
      return dynamicRope(request, scaling);
    case 'llama3':
      return withFrequencies(request, 1, llama3Frequencies(request, scaling));
    case 'yarn':
    case 'deepseek_yarn':
      return yarnRope(request, scaling);
    case 'longrope':
      return longRope(request, scaling);
    default:
      throw configInvalid('rope_scaling.type', `${JSON.stringify(kind).slice(0, 40)} is not known`);
  }
}

/**
 * Positions that a model with this scaling was made for. A dynamic or yarn rope reaches past
 * `max_position_embeddings`; the other kinds count their factor in already.
 */
export function scaledContext(
  positions: number,
  rope: ProgramRope,
  scaling: Config | null,
): number {
  if (rope.dynamicFrom > 0) return clampContext(rope.dynamicFrom * rope.dynamicFactor);
  const kind = scaling?.['type'] || scaling?.['rope_type'];
  if (scaling === null || kind !== 'yarn') return positions;
  const { factor, original_max_position_embeddings: original } = readScaling(yarnSchema, scaling);
  return Math.max(positions, clampContext(original * factor));
}

function clampContext(positions: number): number {
  return Math.max(1, Math.min(limits.modelMaxContext, Math.floor(positions)));
}

function plainRope(request: RopeRequest): ProgramRope {
  return {
    width: request.width,
    traditional: request.traditional,
    base: request.theta,
    scale: 1,
    preScale: 1,
    dynamicFactor: 1,
    dynamicFrom: 0,
    frequencies: null,
  };
}

function withFrequencies(
  request: RopeRequest,
  preScale: number,
  frequencies: readonly number[],
): ProgramRope {
  if (!frequencies.every((frequency) => frequency > 0 && Number.isFinite(frequency))) {
    throw configInvalid('rope_scaling', 'gives frequencies that are no numbers');
  }
  return { ...plainRope(request), preScale, frequencies };
}

const linearSchema = z.object({ factor: positiveScalar });

function readScaling<Schema extends z.ZodType>(schema: Schema, scaling: Config) {
  return readConfig(schema, scaling, ['rope_scaling']);
}

const dynamicSchema = z.object({ factor: z.number().min(1).max(1e6) });

function dynamicRope(request: RopeRequest, scaling: Config): ProgramRope {
  const { factor } = readScaling(dynamicSchema, scaling);
  if (request.positions === null) {
    throw configInvalid('max_position_embeddings', 'is missing, a dynamic rope needs it');
  }
  if (request.width < 4) throw configInvalid('head_dim', 'is too small for a dynamic rope');
  return { ...plainRope(request), dynamicFactor: factor, dynamicFrom: request.positions };
}

const f32 = Math.fround;

/** theta^(2i / width), 32-bit. */
function baseFrequencies({ theta, width }: RopeRequest): number[] {
  return Array.from({ length: width / 2 }, (_, i) => f32(f32(theta) ** f32((2 * i) / width)));
}

const llama3Schema = z.object({
  factor: positiveScalar,
  low_freq_factor: positiveScalar.default(1),
  high_freq_factor: positiveScalar.default(4),
  original_max_position_embeddings: contextLength.default(8192),
});

/** Long wavelengths are stretched by factor, short ones kept, those between blended. */
function llama3Frequencies(request: RopeRequest, scaling: Config): number[] {
  const read = readScaling(llama3Schema, scaling);
  const { factor, low_freq_factor: low, high_freq_factor: high } = read;
  const original = read.original_max_position_embeddings;
  if (low >= high) {
    throw configInvalid('rope_scaling.high_freq_factor', 'is not above low_freq_factor');
  }
  const longest = f32(original / low);
  const shortest = f32(original / high);
  return baseFrequencies(request).map((frequency) => {
    const wavelength = f32(f32(2 * Math.PI) * frequency);
    if (wavelength > longest) return f32(frequency * f32(factor));
    if (wavelength <= shortest || wavelength === longest) return frequency;
    const smooth = f32(f32(f32(original / wavelength) - f32(low)) / f32(high - low));
    return f32(frequency / f32(f32(f32(1 - smooth) / f32(factor)) + smooth));
  });
}

const yarnSchema = z.object({
  factor: positiveScalar,
  original_max_position_embeddings: contextLength.default(4096),
  beta_fast: positiveScalar.default(32),
  beta_slow: positiveScalar.default(1),
  mscale: z.number().min(-1e6).max(1e6).default(1),
  mscale_all_dim: z.number().min(-1e6).max(1e6).default(0),
});

/**
 * Frequencies between stretched and kept along a ramp of dimensions; q and k scaled by the ratio of
 * mscales.
 */
function yarnRope(request: RopeRequest, scaling: Config): ProgramRope {
  const read = readScaling(yarnSchema, scaling);
  const { factor } = read;
  const { theta, width } = request;
  const dimensionOf = (rotations: number) =>
    (width * Math.log(read.original_max_position_embeddings / (rotations * 2 * Math.PI))) /
    (2 * Math.log(theta));
  const first = Math.max(Math.floor(dimensionOf(read.beta_fast)), 0);
  const end = Math.min(Math.ceil(dimensionOf(read.beta_slow)), width - 1);
  const last = end === first ? end + 0.001 : end;
  const frequencies = baseFrequencies(request).map((kept, i) => {
    const ramp = f32(f32(i - first) / f32(last - first));
    const mask = f32(1 - Math.min(Math.max(ramp, 0), 1));
    const stretched = f32(f32(factor) * kept);
    const blend = f32(f32(stretched * mask) + f32(kept * f32(1 - mask)));
    return f32(f32(stretched * kept) / blend);
  });
  const mscale = (scale: number) => (factor <= 1 ? 1 : 0.1 * scale * Math.log(factor) + 1);
  const preScale = mscale(read.mscale) / mscale(read.mscale_all_dim);
  if (!Number.isFinite(preScale))
    throw configInvalid('rope_scaling.mscale_all_dim', 'gives no number');
  return withFrequencies(request, preScale, frequencies);
}

const longSchema = z.object({
  original_max_position_embeddings: contextLength.min(2),
  long_factor: z.union([positiveScalar, z.array(positiveScalar)]),
});

/** mlx-lm takes the long factors at every length. */
function longRope(request: RopeRequest, scaling: Config): ProgramRope {
  const read = readScaling(longSchema, scaling);
  const original = read.original_max_position_embeddings;
  const factors = read.long_factor;
  if (typeof factors !== 'number' && factors.length !== request.width / 2) {
    const problem = `has ${factors.length} values for ${request.width / 2} pairs of columns`;
    throw configInvalid('rope_scaling.long_factor', problem);
  }
  const stretch = (request.positions ?? 131_072) / original;
  const preScale = stretch <= 1 ? 1 : Math.sqrt(1 + Math.log(stretch) / Math.log(original));
  const frequencies = baseFrequencies(request).map((frequency, i) =>
    f32(f32(typeof factors === 'number' ? factors : (factors[i] ?? 1)) * frequency),
  );
  return withFrequencies(request, preScale, frequencies);
}
