/**
 * Faults that a fresh attempt meets again: the model itself is wrong, or this build cannot run it.
 */
const finalCodes = new Set([
  'model_unsupported',
  'model_config_invalid',
  'model_file_broken',
  'model_file_missing',
  'model_file_unreadable',
  'parameter_missing',
  'parameter_unexpected',
  'parameter_shape_mismatch',
  'parameter_mismatch',
  'program_invalid',
  'tokenizer_missing',
  'tokenizer_invalid',
  'addon_missing',
  'addon_unusable',
  'addon_mismatch',
  'executor_unavailable',
  'device_unavailable',
  'insufficient_memory',
  'split_impossible',
]);

/** Faults that fewer ranks may not have: they take less between them. */
const spaceCodes = new Set(['insufficient_memory', 'out_of_memory', 'split_impossible']);

/** No attempt with as many ranks does better. */
export function isFinal(code: string, ranks: number): boolean {
  return finalCodes.has(code) || (ranks > 1 && spaceCodes.has(code));
}

/** Fewer ranks would meet it as well. */
export function isOfAnyRanks(code: string): boolean {
  return finalCodes.has(code) && !spaceCodes.has(code);
}
