/** rope_scaling of a config.json with `rope_type` llama3. */
export interface Llama3Scaling {
  readonly rope_type: 'llama3';
  readonly factor: number;
  readonly low_freq_factor: number;
  readonly high_freq_factor: number;
  readonly original_max_position_embeddings: number;
}

/** Two factor tables are the same when no value differs by more (the files hold f32). */
const tolerance = 1e-5;

/** What Llama 3.1 and later were published with. */
const published = { low: 1, high: 4, original: 8192 };

/**
 * The parameters that give these divisors of the rope frequencies, or null when no llama3 scaling
 * does.
 *
 * llama.cpp stores, for pair i of a head with wavelength w_i = 2 pi theta^(2i/width): 1 where w <
 * original/high, `factor` where w > original/low, and between them 1/((1-s)/factor + s) with s =
 * (original/w - low)/(high - low). Scaling low, high and original together changes nothing, so
 * when the published numbers do not fit, `original` is taken as published and low and high are
 * solved for.
 *
 * @param factors one for each pair, width/2 of them
 */
export function llama3ScalingOf(
  factors: ArrayLike<number>,
  width: number,
  theta: number,
): Llama3Scaling | null {
  if (factors.length !== width / 2) return null;
  const factor = roundWhenClose(Math.max(...Array.from(factors)));
  const wavelengths = Array.from(factors, (_, pair) => 2 * Math.PI * theta ** ((2 * pair) / width));
  const fits = (scaling: Llama3Scaling): boolean =>
    wavelengths.every((wavelength, pair) => {
      const expected = llama3Factor(scaling, wavelength);
      return Math.abs((factors[pair] ?? Number.NaN) - expected) <= tolerance * expected;
    });
  const usual = makeScaling(factor, published.low, published.high);
  if (fits(usual)) return usual;
  const solved = solve(factors, wavelengths, factor);
  return solved !== null && fits(solved) ? solved : null;
}

/**
 * The divisor of the frequency of this wavelength, as transformers' `_compute_llama3_parameters`
 * has it.
 */
export function llama3Factor(scaling: Llama3Scaling, wavelength: number): number {
  const turns = scaling.original_max_position_embeddings / wavelength;
  if (turns > scaling.high_freq_factor) return 1;
  if (turns < scaling.low_freq_factor) return scaling.factor;
  const span = scaling.high_freq_factor - scaling.low_freq_factor;
  const smooth = (turns - scaling.low_freq_factor) / span;
  return 1 / ((1 - smooth) / scaling.factor + smooth);
}

/** s is linear in 1/w; two points between the plateaus give low and high. */
function solve(
  factors: ArrayLike<number>,
  wavelengths: readonly number[],
  factor: number,
): Llama3Scaling | null {
  const points = wavelengths.flatMap((wavelength, pair) => {
    const value = factors[pair] ?? Number.NaN;
    if (!(value > 1 + tolerance && value < factor * (1 - tolerance))) return [];
    return [{ turns: published.original / wavelength, smooth: smoothOf(value, factor) }];
  });
  const first = points[0];
  const last = points.at(-1);
  if (first === undefined || last === undefined || first.turns === last.turns) return null;
  const slope = (first.smooth - last.smooth) / (first.turns - last.turns);
  const low = roundWhenClose(first.turns - first.smooth / slope);
  const high = roundWhenClose(low + 1 / slope);
  return low > 0 && high > low ? makeScaling(factor, low, high) : null;
}

function smoothOf(value: number, factor: number): number {
  return (1 / value - 1 / factor) / (1 - 1 / factor);
}

function makeScaling(factor: number, low: number, high: number): Llama3Scaling {
  return {
    rope_type: 'llama3',
    factor,
    low_freq_factor: low,
    high_freq_factor: high,
    original_max_position_embeddings: published.original,
  };
}

function roundWhenClose(value: number): number {
  const rounded = Math.round(value * 1000) / 1000;
  return Math.abs(value - rounded) < 1e-4 * Math.abs(value) ? rounded : value;
}
