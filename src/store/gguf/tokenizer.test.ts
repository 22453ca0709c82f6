import { Tokenizer } from 'tokenizers';
import { describe, expect, it } from 'vitest';
import { rejection } from '../../../test/support/rejection.ts';
import { GgufMetadata } from './metadata.ts';
import { ggufTokenizer } from './tokenizer.ts';
import type { GgufValue } from './values.ts';
import { readVocabulary } from './vocabulary.ts';

type Values = Readonly<Record<string, GgufValue>>;

function texts(values: readonly string[]): GgufValue {
  return { kind: 'strings', values };
}

function numbers(values: readonly number[]): GgufValue {
  return { kind: 'numbers', values };
}

function jsonOf(values: Values): string {
  const entries = Object.entries(values).map(([key, value]): [string, GgufValue] => [
    key.includes('.') ? key : `tokenizer.ggml.${key}`,
    value,
  ]);
  const metadata = new GgufMetadata(new Map(entries), 'model.gguf');
  return JSON.stringify(ggufTokenizer(metadata, readVocabulary(metadata)));
}

interface Loaded {
  /** Tokens of the text, joined by bars. */
  readonly encode: (text: string, addSpecialTokens?: boolean) => Promise<string>;
  readonly decode: (tokens: readonly string[], skipSpecial: boolean) => Promise<string>;
}

function load(values: Values): Loaded {
  const tokenizer = Tokenizer.fromString(jsonOf(values));
  return {
    async encode(text, addSpecialTokens = false) {
      return (await tokenizer.encode(text, null, { addSpecialTokens })).getTokens().join('|');
    },
    decode(tokens, skipSpecial) {
      const ids = tokens.map((token) => tokenizer.tokenToId(token) ?? -1);
      return tokenizer.decode(ids, skipSpecial);
    },
  };
}

/** GPT-2's printable name of each byte. */
function byteNames(): string[] {
  const printable = (byte: number): boolean =>
    (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
  let next = 256;
  return Array.from({ length: 256 }, (_, byte) => {
    if (printable(byte)) return String.fromCodePoint(byte);
    next += 1;
    return String.fromCodePoint(next - 1);
  });
}

/** All bytes, a word in its steps, a number, and tokens of both kinds. */
function byteLevel(pre: string, more: Values = {}): Values {
  const made = ['th', 'the', 'Ġthe', '12', '123', '1234', "'s", 'ĠĠ'];
  const tokens = [...byteNames(), ...made, '<|bos|>', '<|eos|>', '<think>'];
  const kinds = tokens.map((token) => (token.endsWith('|>') ? 3 : token === '<think>' ? 4 : 1));
  return {
    model: 'gpt2',
    pre,
    tokens: texts(tokens),
    token_type: numbers(kinds),
    merges: texts(['t h', 'th e', 'Ġ the', '1 2', '12 3', '123 4', "' s", 'Ġ Ġ']),
    bos_token_id: tokens.indexOf('<|bos|>'),
    eos_token_id: tokens.indexOf('<|eos|>'),
    ...more,
  };
}

describe('a byte-level tokenizer', () => {
  it('merges words and finds its special tokens in text', async () => {
    const { encode } = load(byteLevel('gpt-2'));
    expect(await encode('the the<|eos|>é<think>')).toBe('the|Ġthe|<|eos|>|Ã|©|<think>');
  });

  it('gives text back, with and without special tokens', async () => {
    const { decode } = load(byteLevel('gpt-2'));
    const tokens = ['Ġthe', '<|eos|>', '<think>', 'Ã', '©'];
    expect(await decode(tokens, false)).toBe(' the<|eos|><think>é');
    expect(await decode(tokens, true)).toBe(' the<think>é');
  });

  it.each([
    ['gpt-2', '1234', '1234'],
    ['smollm', '1234', '1|2|3|4'],
    ['command-r', '1234', '1|2|3|4'],
    ['llama-bpe', '1234', '123|4'],
    ['gpt-4o', '1234', '123|4'],
    ['deepseek-v3', '1234', '123|4'],
    ['dbrx', '1234', '123|4'],
    ['qwen2', '1234', '1|2|3|4'],
    ['tekken', '1234', '1|2|3|4'],
    ['llama-bpe', "THE'S", "T|H|E|'|S"],
    ['smollm', "the's", "the|'s"],
    ['smollm', 'a   the', 'a|ĠĠ|Ġthe'],
    ['smollm', '１', 'ï|¼|ĳ'],
  ])('%s cuts %s into %s', async (pre, text, tokens) => {
    expect(await load(byteLevel(pre)).encode(text)).toBe(tokens);
  });

  it('composes accents where the family does', async () => {
    expect(await load(byteLevel('qwen2')).encode('e\u0301')).toBe('Ã|©');
    expect(await load(byteLevel('llama-bpe')).encode('e\u0301')).toBe('e|Ì|ģ');
  });

  it('puts tokens around a text as the file says, else as the family does', async () => {
    const wanted = { add_bos_token: true, add_eos_token: true };
    expect(await load(byteLevel('qwen2', wanted)).encode('t', true)).toBe('<|bos|>|t|<|eos|>');
    expect(await load(byteLevel('qwen2')).encode('t', true)).toBe('t');
    expect(await load(byteLevel('llama-bpe')).encode('t', true)).toBe('<|bos|>|t');
    const unwanted = { add_bos_token: false };
    expect(await load(byteLevel('llama-bpe', unwanted)).encode('t', true)).toBe('t');
  });
});

/** SentencePiece: all bytes, letters, two merges, a control token and a run of two spaces. */
function sentencePiece(more: Values = {}): Values {
  const bytes = Array.from(
    { length: 256 },
    (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`,
  );
  const normal = ['▁', 'h', 'i', 'hi', '▁hi'];
  const tokens = ['<unk>', '<s>', '</s>', ...bytes, '  ', ...normal];
  const kinds = [2, 3, 3, ...bytes.map(() => 6), 4, ...normal.map(() => 1)];
  const scores = [0, 0, 0, ...bytes.map(() => 0), -1000, -5, -6, -7, -1, -2];
  return {
    model: 'llama',
    tokens: texts(tokens),
    token_type: numbers(kinds),
    scores: numbers(scores),
    ...more,
  };
}

describe('a SentencePiece tokenizer', () => {
  it('marks spaces, puts one in front and begins with <s>', async () => {
    const { encode, decode } = load(sentencePiece());
    expect(await encode('hi hi', true)).toBe('<s>|▁hi|▁hi');
    expect(await encode('é</s>')).toBe('▁|<0xC3>|<0xA9>|</s>');
    expect(await decode(['▁hi', '▁hi', '<0xC3>', '<0xA9>'], true)).toBe('hi hié');
  });

  it('without the space in front, and with runs of spaces as one token (gemma)', async () => {
    const { encode, decode } = load(sentencePiece({ add_space_prefix: false }));
    expect(await encode('hi  hi', true)).toBe('<s>|hi|▁▁|hi');
    expect(await decode(['▁hi', '▁▁'], true)).toBe(' hi  ');
  });

  it('of Phi 3 swallows white space behind control tokens', async () => {
    const phi = load(sentencePiece({ 'general.name': 'Phi-3 mini', add_space_prefix: false }));
    expect(await phi.encode('hi</s> hi<s> hi')).toBe('hi|</s> |hi|<s>|▁hi');
  });
});

describe('refused with its reason', () => {
  it.each([
    ['model_unsupported', 'the kind "bert"', byteLevel('gpt-2', { model: 'bert' })],
    ['model_unsupported', 'the pre-tokenizer "odd"', byteLevel('odd')],
    ['model_unsupported', 'does not say how its tokenizer cuts', byteLevel('default')],
    ['model_file_broken', '"tt" is not a pair', byteLevel('gpt-2', { merges: texts(['tt']) })],
    [
      'model_file_broken',
      '"t q" is not made of its tokens',
      byteLevel('gpt-2', { merges: texts(['t q']) }),
    ],
    ['model_file_broken', 'has no scores', { model: 'llama', tokens: texts(['a']) }],
  ])('%s: %s', async (code, reason, values) => {
    const found = await rejection((async () => jsonOf(values))());
    expect(found.code).toBe(code);
    expect(found.message).toContain(reason);
  });
});
