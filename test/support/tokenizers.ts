import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { packageFile, tokenizerPackageSchema } from './tokenizer-packages.ts';
import { Tokenizer } from '../../src/text/tokenizer.ts';

/**
 * For tests: the tokenizers that golden/make_tokenizer_goldens.py made or read, with its results.
 */
const casesShape = {
  name: z.string(),
  encodes: z.array(z.object({ text: z.string(), special: z.boolean(), ids: z.array(z.int()) })),
  decodes: z.array(z.object({ ids: z.array(z.int()), skipSpecial: z.boolean(), text: z.string() })),
  /** With Python's `encode_special_tokens`: control tokens in the text as text. */
  ordinary: z.array(z.object({ text: z.string(), ids: z.array(z.int()) })),
};
const goldenSchema = z.object({
  tiny: z.array(z.object({ ...casesShape, file: z.record(z.string(), z.unknown()) })),
  packages: z.array(z.object({ ...casesShape, name: tokenizerPackageSchema })),
});

const golden = goldenSchema.parse(
  JSON.parse(
    readFileSync(new URL('../../src/text/golden/tokenizers.json', import.meta.url), 'utf8'),
  ),
);

export const testTokenizers = [
  ...golden.tiny.map(({ file, ...cases }) => ({ ...cases, json: JSON.stringify(file) })),
  ...golden.packages.map((cases) => ({
    ...cases,
    json: packageFile(cases.name, 'tokenizer.json'),
  })),
].map((cases) => ({ ...cases, tokenizer: new Tokenizer(cases.json) }));

export function testTokenizer(name: string): Tokenizer {
  const found = testTokenizers.find((candidate) => candidate.name === name);
  if (found === undefined) throw new Error(`no tokenizer ${name} for tests`);
  return found.tokenizer;
}
