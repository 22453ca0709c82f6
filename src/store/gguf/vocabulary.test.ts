import { describe, expect, it } from 'vitest';
import { rejection } from '../../../test/support/rejection.ts';
import { GgufMetadata } from './metadata.ts';
import type { GgufValue } from './values.ts';
import { endIds, type GgufVocabulary, readVocabulary } from './vocabulary.ts';

function vocabularyOf(values: Readonly<Record<string, GgufValue>>): GgufVocabulary {
  const entries = Object.entries(values).map(([key, value]): [string, GgufValue] => [
    `tokenizer.ggml.${key}`,
    value,
  ]);
  return readVocabulary(new GgufMetadata(new Map(entries), 'model.gguf'));
}

function texts(...values: string[]): GgufValue {
  return { kind: 'strings', values };
}

function numbers(...values: number[]): GgufValue {
  return { kind: 'numbers', values };
}

describe('a vocabulary', () => {
  it('has its roles, and an empty token gets a name of its own', () => {
    const values = {
      tokens: texts('a', '', 'c'),
      bos_token_id: 0,
      eos_token_id: 2,
      eot_token_id: 1,
      padding_token_id: 0xffff_ffff,
      unknown_token_id: 3,
    };
    expect(vocabularyOf(values)).toEqual({
      tokens: ['a', '[EMPTY_1]', 'c'],
      kinds: null,
      scores: null,
      roles: { bos: 0, eos: 2, eot: 1 },
    });
  });

  it('of SentencePiece has its usual roles, as far as there are such tokens', () => {
    const three = { model: 'llama', tokens: texts('a', 'b', 'c'), eos_token_id: 0 };
    expect(vocabularyOf(three).roles).toEqual({ bos: 1, eos: 0, unk: 0 });
    expect(vocabularyOf({ model: 'llama', tokens: texts('a') }).roles).toEqual({ unk: 0 });
  });

  it.each([
    ['no tokens', {}, 'it lacks the value "tokenizer.ggml.tokens"'],
    ['numbers for tokens', { tokens: numbers(1) }, 'is not an array of texts'],
    ['a token twice', { tokens: texts('a', 'a') }, 'token 1 is there twice ("a")'],
    ['too few types', { tokens: texts('a', 'b'), token_type: numbers(1) }, '2 tokens but 1 token'],
    ['too many scores', { tokens: texts('a'), scores: numbers(1, 2) }, '1 tokens but 2 scores'],
    ['an end that is no token', { tokens: texts('a'), eos_token_id: 1 }, 'has only 1 tokens'],
    ['half an end', { tokens: texts('a'), eos_token_id: 0.5 }, 'is not a whole number'],
  ])('with %s is refused', async (_what, values, reason) => {
    const found = await rejection((async () => vocabularyOf(values))());
    expect(found.code).toBe('model_file_broken');
    expect(found.message).toContain(reason);
  });
});

describe('a generation ends', () => {
  it('at what the file names and at control tokens that end a turn', () => {
    const vocabulary = vocabularyOf({
      tokens: texts('<eos>', '<end_of_turn>', '<|im_end|>', 'a'),
      token_type: numbers(3, 3, 1, 1),
      eos_token_id: 0,
      eom_token_id: 3,
    });
    expect(endIds(vocabulary)).toEqual([0, 1, 3]);
  });

  it('nowhere when the file names nothing', () => {
    expect(endIds(vocabularyOf({ tokens: texts('a') }))).toEqual([]);
  });
});
