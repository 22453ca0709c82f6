import { unsupportedModel } from '../model-file-error.ts';

/** A part of a tokenizer.json (the tokenizers library's serialized form). */
export type TokenizerPart = Readonly<Record<string, unknown>>;

/** How a byte-level BPE cuts text into words, and what goes with it. */
export interface PreTokenizer {
  readonly normalizer: TokenizerPart | null;
  /** What comes before the byte level in the sequence. */
  readonly splits: readonly TokenizerPart[];
  /** Whether the byte level also cuts by GPT-2's own expression. */
  readonly byteLevelRegex: boolean;
  /** A word that is a token is taken whole, whatever the merges say. */
  readonly ignoreMerges: boolean;
  /** Whether the beginning-of-text token is put in front when the file does not say. */
  readonly addsBeginning: boolean;
}

const contractions = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";
const spaces = '\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+';
const word = '[^\\r\\n\\p{L}\\p{N}]?\\p{L}+';
const symbols = ' ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*';

/** cl100k's expression with at most `digits` digits in a word. */
function cl100k(digits: string): TokenizerPart {
  return split([contractions, word, digits, symbols, spaces].join('|'));
}

const upper = '[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]';
const lower = '[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]';

/** o200k's expression: words begin anew where upper case follows lower case. */
function o200k(suffix: string, digits: string): TokenizerPart {
  const lead = '[^\\r\\n\\p{L}\\p{N}]?';
  return split(
    [
      `${lead}${upper}*${lower}+${suffix}`,
      `${lead}${upper}+${lower}*${suffix}`,
      digits,
      ' ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*',
      spaces,
    ].join('|'),
  );
}

function split(expression: string): TokenizerPart {
  return {
    type: 'Split',
    pattern: { Regex: expression },
    behavior: 'Isolated',
    invert: false,
  };
}

const singleDigits: TokenizerPart = { type: 'Digits', individual_digits: true };
const composed: TokenizerPart = { type: 'NFC' };

function preTokenizer(
  splits: readonly TokenizerPart[],
  changes: Partial<PreTokenizer> = {},
): PreTokenizer {
  return {
    normalizer: null,
    splits,
    byteLevelRegex: false,
    ignoreMerges: false,
    addsBeginning: false,
    ...changes,
  };
}

const gpt2 = preTokenizer([], { byteLevelRegex: true });
const digitsThenGpt2 = preTokenizer([singleDigits], { byteLevelRegex: true });
const llama3 = preTokenizer([cl100k('\\p{N}{1,3}')], { ignoreMerges: true, addsBeginning: true });
const cl100kPlain = preTokenizer([cl100k('\\p{N}{1,3}')]);
const qwen2 = preTokenizer([cl100k('\\p{N}')], { normalizer: composed });
const gpt4o = preTokenizer([o200k(`${contractions}?`, '\\p{N}{1,3}')]);

const asciiPunctuation = '[!"#$%&\'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~]';
const deepseekWords = [
  `${asciiPunctuation}[A-Za-z]+`,
  '[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+',
  ' ?[\\p{P}\\p{S}]+[\\r\\n]*',
  spaces,
].join('|');

/**
 * Pre-tokenizers by `tokenizer.ggml.pre`: llama.cpp's names, the published tokenizer.json's
 * expressions.
 */
const preTokenizers: ReadonlyMap<string, PreTokenizer> = new Map([
  ['gpt-2', gpt2],
  ['phi-2', gpt2],
  ['mpt', gpt2],
  ['exaone4', gpt2],
  ['trillion', gpt2],
  ['granite-docling', gpt2],
  ['olmo', preTokenizer([], { byteLevelRegex: true, normalizer: composed })],
  ['smollm', digitsThenGpt2],
  ['starcoder', digitsThenGpt2],
  ['refact', digitsThenGpt2],
  ['codeshell', digitsThenGpt2],
  ['exaone', digitsThenGpt2],
  ['minerva-7b', digitsThenGpt2],
  ['command-r', preTokenizer([singleDigits], { byteLevelRegex: true, normalizer: composed })],
  ['llama3', llama3],
  ['llama-v3', llama3],
  ['llama-bpe', llama3],
  ['falcon3', llama3],
  ['falcon-h1', llama3],
  ['pixtral', llama3],
  ['lfm2', llama3],
  ['dbrx', cl100kPlain],
  ['smaug-bpe', cl100kPlain],
  ['glm4', cl100kPlain],
  ['chatglm-bpe', cl100kPlain],
  ['qwen2', qwen2],
  ['deepseek-r1-qwen', qwen2],
  ['megrez', qwen2],
  ['stablelm2', qwen2],
  ['gpt-4o', gpt4o],
  ['llama4', gpt4o],
  ['kanana2', gpt4o],
  ['tekken', preTokenizer([o200k('', '\\p{N}')], { ignoreMerges: true, addsBeginning: true })],
  [
    'deepseek-v3',
    preTokenizer([split('\\p{N}{1,3}'), split('[一-龥぀-ゟ゠-ヿ]+'), split(deepseekWords)]),
  ],
]);

/** The pre-tokenizer of a byte-level BPE, or `model_unsupported` with its name. */
export function preTokenizerOf(name: string | null, fileName: string): PreTokenizer {
  const found = preTokenizers.get(name ?? 'default');
  if (found !== undefined) return found;
  throw unsupportedModel(
    name === null || name === 'default'
      ? `${fileName} does not say how its tokenizer cuts text into words`
      : `${fileName} has the pre-tokenizer "${name}", which is not known here`,
    'convert the model again with a current llama.cpp, or use its safetensors files',
  );
}
