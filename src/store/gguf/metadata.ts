import { brokenFile } from '../model-file-error.ts';
import type { GgufArray, GgufValue } from './values.ts';

/**
 * Typed access to a GGUF file's metadata. A value that is there with another type than it should
 * have makes the file broken; one that is missing is an error only where it is required.
 */
export class GgufMetadata {
  readonly fileName: string;
  readonly #values: ReadonlyMap<string, GgufValue>;

  constructor(values: ReadonlyMap<string, GgufValue>, fileName: string) {
    this.#values = values;
    this.fileName = fileName;
  }

  optionalText(key: string): string | null {
    const value = this.#values.get(key);
    if (value === undefined) return null;
    if (typeof value === 'string') return value;
    throw this.#wrong(key, 'a text');
  }

  text(key: string): string {
    return this.optionalText(key) ?? this.#missing(key);
  }

  /** A whole number from 0 to 2^53. */
  optionalCount(key: string): number | null {
    const value = this.#values.get(key);
    if (value === undefined) return null;
    if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value;
    throw this.#wrong(key, 'a whole number');
  }

  count(key: string): number {
    return this.optionalCount(key) ?? this.#missing(key);
  }

  /**
   * A finite number. Files hold f32, so 0.00001 comes as 0.000009999999747378752; what is
   * returned is the shortest decimal with the same f32, which is the number that was meant.
   */
  optionalNumber(key: string): number | null {
    const value = this.#values.get(key);
    if (value === undefined) return null;
    if (typeof value === 'number' && Number.isFinite(value)) return shortestDecimal(value);
    throw this.#wrong(key, 'a number');
  }

  number(key: string): number {
    return this.optionalNumber(key) ?? this.#missing(key);
  }

  optionalFlag(key: string): boolean | null {
    const value = this.#values.get(key);
    if (value === undefined) return null;
    if (typeof value === 'boolean') return value;
    throw this.#wrong(key, 'true or false');
  }

  optionalTexts(key: string): readonly string[] | null {
    const array = this.#optionalArray(key);
    if (array === null) return null;
    if (array.kind === 'strings') return array.values;
    throw this.#wrong(key, 'an array of texts');
  }

  texts(key: string): readonly string[] {
    return this.optionalTexts(key) ?? this.#missing(key);
  }

  optionalNumbers(key: string): ArrayLike<number> | null {
    const array = this.#optionalArray(key);
    if (array === null) return null;
    if (array.kind === 'numbers') return array.values;
    throw this.#wrong(key, 'an array of numbers');
  }

  isArray(key: string): boolean {
    return typeof this.#values.get(key) === 'object';
  }

  #optionalArray(key: string): GgufArray | null {
    const value = this.#values.get(key);
    if (value === undefined) return null;
    if (typeof value === 'object') return value;
    throw this.#wrong(key, 'an array');
  }

  #missing(key: string): never {
    throw brokenFile(this.fileName, `it lacks the value "${key}"`);
  }

  #wrong(key: string, expected: string): Error {
    return brokenFile(this.fileName, `its value "${key}" is not ${expected}`);
  }
}

/** The decimal with the fewest digits whose f32 is `value`; `value` itself when it is no f32. */
function shortestDecimal(value: number): number {
  if (Math.fround(value) !== value) return value;
  for (let digits = 1; digits < 9; digits += 1) {
    const candidate = Number(value.toPrecision(digits));
    if (Math.fround(candidate) === value) return candidate;
  }
  return value;
}
