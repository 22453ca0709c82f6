import { InvalidArgumentError } from 'commander';

/** Parsers of option values; commander turns what they throw into wrong use (exit status 2). */

export function positiveInteger(text: string): number {
  const value = integer(text);
  if (value < 1) throw new InvalidArgumentError('It must be at least 1.');
  return value;
}

export function nonNegativeInteger(text: string): number {
  return integer(text);
}

export function portNumber(text: string): number {
  const value = integer(text);
  if (value > 65_535) throw new InvalidArgumentError('A port is at most 65535.');
  return value;
}

/** An integer of up to 64 bits, as decimal digits; a negative one counts as its bit pattern. */
export function seedDigits(text: string): string {
  if (!/^-?\d{1,20}$/.test(text)) throw new InvalidArgumentError('It must be an integer.');
  return BigInt.asUintN(64, BigInt(text)).toString();
}

export function temperature(text: string): number {
  return between(text, 0, 2);
}

export function probability(text: string): number {
  return between(text, 0, 1);
}

const units: Readonly<Record<string, number>> = {
  '': 1,
  k: 1e3,
  kb: 1e3,
  kib: 2 ** 10,
  m: 1e6,
  mb: 1e6,
  mib: 2 ** 20,
  g: 1e9,
  gb: 1e9,
  gib: 2 ** 30,
};

/** `4294967296`, `512MiB`, `4GB`. */
export function byteCount(text: string): number {
  const [, digits = '', unit = ''] = /^(\d+(?:\.\d+)?)\s*([a-z]*)$/i.exec(text.trim()) ?? [];
  const factor = units[unit.toLowerCase()];
  const bytes = Math.floor(Number(digits) * (factor ?? Number.NaN));
  if (digits === '' || !Number.isSafeInteger(bytes) || bytes < 1) {
    throw new InvalidArgumentError('Write bytes, or a number with kB, MB, MiB, GB or GiB.');
  }
  return bytes;
}

function integer(text: string): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(value)) {
    throw new InvalidArgumentError('It must be a whole number.');
  }
  return value;
}

function between(text: string, least: number, most: number): number {
  const value = Number(text);
  if (text.trim() === '' || !(value >= least && value <= most)) {
    throw new InvalidArgumentError(`It must be a number from ${least} to ${most}.`);
  }
  return value;
}
