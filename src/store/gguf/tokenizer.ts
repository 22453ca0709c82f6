import { brokenFile, unsupportedModel } from '../model-file-error.ts';
import type { GgufMetadata } from './metadata.ts';
import { preTokenizerOf, type TokenizerPart } from './pre-tokenizers.ts';
import { type Merge, sentencePieceMerges } from './sentence-piece-merges.ts';
import { type GgufVocabulary, tokenKinds } from './vocabulary.ts';

/** The SentencePiece mark of a space. */
const spaceMark = '\u2581';

/**
 * The tokenizer.json (the tokenizers library's format, version 1.0) that does what the tokenizer
 * in a GGUF file's metadata does: byte-level BPE (`gpt2`) or SentencePiece BPE (`llama`).
 *
 * @throws CideryError `model_unsupported` for other kinds and for unknown pre-tokenizers, with
 * their name.
 */
export function ggufTokenizer(metadata: GgufMetadata, vocabulary: GgufVocabulary): TokenizerPart {
  const model = metadata.text('tokenizer.ggml.model');
  switch (model) {
    case 'gpt2':
      return byteLevelTokenizer(metadata, vocabulary);
    case 'llama':
      return sentencePieceTokenizer(metadata, vocabulary);
    default:
      throw unsupportedModel(
        `${metadata.fileName} has a tokenizer of the kind "${model}", which is not known here`,
        'use the safetensors files of the model, which come with a tokenizer.json',
      );
  }
}

function byteLevelTokenizer(metadata: GgufMetadata, vocabulary: GgufVocabulary): TokenizerPart {
  const pre = preTokenizerOf(metadata.optionalText('tokenizer.ggml.pre'), metadata.fileName);
  const merges = metadata.texts('tokenizer.ggml.merges').map((line): Merge => {
    const space = line.indexOf(' ', 1);
    if (space < 0) throw brokenFile(metadata.fileName, `its merge "${line}" is not a pair`);
    return [line.slice(0, space), line.slice(space + 1)];
  });
  const byteLevel = byteLevelPart(pre.byteLevelRegex);
  return assemble(vocabulary, {
    tokens: vocabulary.tokens,
    normalizer: pre.normalizer,
    preTokenizer:
      pre.splits.length === 0
        ? byteLevel
        : { type: 'Sequence', pretokenizers: [...pre.splits, byteLevel] },
    postProcessor: postProcessor(metadata, vocabulary, pre.addsBeginning),
    decoder: byteLevelPart(true),
    model: {
      unk_token: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: pre.ignoreMerges,
      merges: checkedMerges(merges, vocabulary.tokens, metadata.fileName),
    },
  });
}

function byteLevelPart(usesRegex: boolean): TokenizerPart {
  return { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: usesRegex };
}

/**
 * Merges that name pieces outside of the vocabulary abort the tokenizer's loader, so they end
 * here.
 */
function checkedMerges(
  merges: readonly Merge[],
  tokens: readonly string[],
  fileName: string,
): readonly Merge[] {
  const known = new Set(tokens);
  for (const [left, right] of merges) {
    if (!known.has(left) || !known.has(right) || !known.has(left + right)) {
      throw brokenFile(fileName, `its merge "${left} ${right}" is not made of its tokens`);
    }
  }
  return merges;
}

function sentencePieceTokenizer(metadata: GgufMetadata, vocabulary: GgufVocabulary): TokenizerPart {
  const { fileName } = metadata;
  const { kinds, scores } = vocabulary;
  if (scores === null) throw brokenFile(fileName, 'its tokenizer has no scores');
  const tokens = vocabulary.tokens.map((token, id) =>
    kinds?.[id] === tokenKinds.userDefined ? token.replaceAll(' ', spaceMark) : token,
  );
  const known = new Set(tokens);
  if (known.size !== tokens.length) throw brokenFile(fileName, 'two of its tokens are the same');
  const unknown = vocabulary.roles.unk;
  const addsPrefix = metadata.optionalFlag('tokenizer.ggml.add_space_prefix') ?? true;
  const replaceSpaces = { type: 'Replace', pattern: { String: ' ' }, content: spaceMark };
  const decoders: TokenizerPart[] = [
    { type: 'Replace', pattern: { String: spaceMark }, content: ' ' },
    { type: 'ByteFallback' },
    { type: 'Fuse' },
  ];
  if (addsPrefix) decoders.push({ type: 'Strip', content: ' ', start: 1, stop: 0 });
  return assemble(vocabulary, {
    tokens,
    normalizer: addsPrefix
      ? {
          type: 'Sequence',
          normalizers: [{ type: 'Prepend', prepend: spaceMark }, replaceSpaces],
        }
      : replaceSpaces,
    preTokenizer: null,
    postProcessor: postProcessor(metadata, vocabulary, true),
    decoder: { type: 'Sequence', decoders },
    model: {
      unk_token: unknown === undefined ? null : (tokens[unknown] ?? null),
      fuse_unk: true,
      byte_fallback: true,
      ignore_merges: false,
      merges: sentencePieceMerges(tokens, scores, kinds),
    },
    stripsAfterTokens: stripsAfterTokens(metadata),
  });
}

/**
 * Phi 3's control tokens swallow the white space behind them; files do not say it (nor for
 * llama.cpp).
 */
function stripsAfterTokens(metadata: GgufMetadata): boolean {
  const name = metadata.optionalText('general.name')?.toLowerCase() ?? '';
  return name.includes('phi-3') || name.includes('phi3');
}

const neverStripping = new Set(['<unk>', '<s>', '<|endoftext|>']);

interface Parts {
  readonly tokens: readonly string[];
  readonly normalizer: TokenizerPart | null;
  readonly preTokenizer: TokenizerPart | null;
  readonly postProcessor: TokenizerPart | null;
  readonly decoder: TokenizerPart;
  readonly model: TokenizerPart;
  readonly stripsAfterTokens?: boolean;
}

function assemble(vocabulary: GgufVocabulary, parts: Parts): TokenizerPart {
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: addedTokens(vocabulary, parts.tokens, parts.stripsAfterTokens ?? false),
    normalizer: parts.normalizer,
    pre_tokenizer: parts.preTokenizer,
    post_processor: parts.postProcessor,
    decoder: parts.decoder,
    model: {
      type: 'BPE',
      dropout: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      ...parts.model,
      vocab: Object.fromEntries(parts.tokens.map((token, id) => [token, id])),
    },
  };
}

/**
 * Tokens that are found in text as a whole: control and unknown tokens (special), and
 * user-defined ones.
 */
function addedTokens(
  { kinds }: GgufVocabulary,
  tokens: readonly string[],
  strips: boolean,
): TokenizerPart[] {
  if (kinds === null) return [];
  return tokens.flatMap((content, id) => {
    const kind = kinds[id];
    const special = kind === tokenKinds.control || kind === tokenKinds.unknown;
    if (!special && kind !== tokenKinds.userDefined) return [];
    const rstrip = strips && !neverStripping.has(content) && (special || content === '</s>');
    return [{ id, content, single_word: false, lstrip: false, rstrip, normalized: false, special }];
  });
}

/**
 * Puts the beginning and end tokens around a text (and around each of a pair), where the file
 * wants them.
 */
function postProcessor(
  metadata: GgufMetadata,
  { tokens, roles }: GgufVocabulary,
  addsBeginningByDefault: boolean,
): TokenizerPart | null {
  const wantsBeginning =
    metadata.optionalFlag('tokenizer.ggml.add_bos_token') ?? addsBeginningByDefault;
  const wantsEnd = metadata.optionalFlag('tokenizer.ggml.add_eos_token') ?? false;
  const begin = wantsBeginning ? roles.bos : undefined;
  const end = wantsEnd ? roles.eos : undefined;
  if (begin === undefined && end === undefined) return null;
  const piece = (id: number | undefined, typeId: number): TokenizerPart[] =>
    id === undefined ? [] : [{ SpecialToken: { id: tokens[id] ?? '', type_id: typeId } }];
  const around = (sequence: 'A' | 'B', typeId: number): TokenizerPart[] => [
    ...piece(begin, typeId),
    { Sequence: { id: sequence, type_id: typeId } },
    ...piece(end, typeId),
  ];
  const special = [begin, end].flatMap((id) => {
    const token = id === undefined ? undefined : tokens[id];
    return token === undefined ? [] : [[token, { id: token, ids: [id], tokens: [token] }] as const];
  });
  return {
    type: 'TemplateProcessing',
    single: around('A', 0),
    pair: [...around('A', 0), ...around('B', 1)],
    special_tokens: Object.fromEntries(special),
  };
}
