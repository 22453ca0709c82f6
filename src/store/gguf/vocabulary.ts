import { brokenFile } from '../model-file-error.ts';
import type { GgufMetadata } from './metadata.ts';

/** Kinds of tokens (llama.cpp's LLAMA_TOKEN_TYPE_*, which are SentencePiece's). */
export const tokenKinds = {
  normal: 1,
  unknown: 2,
  control: 3,
  userDefined: 4,
  unused: 5,
  byte: 6,
} as const;

/** Tokens of a GGUF file, by id. */
export interface GgufVocabulary {
  readonly tokens: readonly string[];
  /** One of `tokenKinds` for each token; null when the file does not say, and all are normal. */
  readonly kinds: ArrayLike<number> | null;
  readonly scores: ArrayLike<number> | null;
  /** Ids by role; a role whose id is missing or is no token is left out. */
  readonly roles: Readonly<Partial<Record<TokenRole, number>>>;
}

export const tokenRoles = ['bos', 'eos', 'eot', 'eom', 'unk', 'pad', 'sep', 'mask'] as const;
export type TokenRole = (typeof tokenRoles)[number];

const roleKeys: Readonly<Record<TokenRole, string>> = {
  bos: 'tokenizer.ggml.bos_token_id',
  eos: 'tokenizer.ggml.eos_token_id',
  eot: 'tokenizer.ggml.eot_token_id',
  eom: 'tokenizer.ggml.eom_token_id',
  unk: 'tokenizer.ggml.unknown_token_id',
  pad: 'tokenizer.ggml.padding_token_id',
  sep: 'tokenizer.ggml.seperator_token_id',
  mask: 'tokenizer.ggml.mask_token_id',
};

/** Ids that SentencePiece models have when their file does not say (llama.cpp's defaults). */
const sentencePieceRoles: Readonly<Partial<Record<TokenRole, number>>> = { bos: 1, eos: 2, unk: 0 };

const noId = 0xffff_ffff;

/** Roles without which a model still answers; converters have written ids past the end for them. */
const dispensableRoles: ReadonlySet<TokenRole> = new Set(['unk', 'pad', 'sep', 'mask']);

/**
 * The vocabulary of a GGUF file. An id past its end is no role when it is 2^32-1 (llama.cpp's
 * "none") or the role is one that a model can do without; for the others the file is broken.
 */
export function readVocabulary(metadata: GgufMetadata): GgufVocabulary {
  const listed = metadata.texts('tokenizer.ggml.tokens');
  const size = listed.length;
  const kinds = metadata.optionalNumbers('tokenizer.ggml.token_type');
  const scores = metadata.optionalNumbers('tokenizer.ggml.scores');
  for (const [what, array] of [
    ['token types', kinds],
    ['scores', scores],
  ] as const) {
    if (array !== null && array.length !== size) {
      throw brokenFile(metadata.fileName, `it has ${size} tokens but ${array.length} ${what}`);
    }
  }
  const isSentencePiece = metadata.optionalText('tokenizer.ggml.model') === 'llama';
  return {
    tokens: namedTokens(listed, metadata.fileName),
    kinds,
    scores,
    roles: readRoles(metadata, size, isSentencePiece ? sentencePieceRoles : {}),
  };
}

/**
 * Tokens as they are; an empty one gets a name of its own, as in llama.cpp. Two of one text are a
 * fault.
 */
function namedTokens(listed: readonly string[], fileName: string): readonly string[] {
  const seen = new Set<string>();
  return listed.map((text, id) => {
    const token = text === '' ? `[EMPTY_${id}]` : text;
    if (seen.has(token)) throw brokenFile(fileName, `token ${id} is there twice ("${token}")`);
    seen.add(token);
    return token;
  });
}

function readRoles(
  metadata: GgufMetadata,
  size: number,
  defaults: Readonly<Partial<Record<TokenRole, number>>>,
): Partial<Record<TokenRole, number>> {
  const roles: Partial<Record<TokenRole, number>> = {};
  for (const role of tokenRoles) {
    const key = roleKeys[role];
    const given = metadata.optionalCount(key);
    const id = given ?? defaults[role];
    if (id === undefined || id === noId) continue;
    if (id < size) roles[role] = id;
    else if (given !== null && !dispensableRoles.has(role)) {
      throw brokenFile(metadata.fileName, `"${key}" is ${id}, but it has only ${size} tokens`);
    }
  }
  return roles;
}

/**
 * Tokens that end a turn in the templates of common families, for files that name none (as
 * llama.cpp does).
 */
const turnEnds = [
  '<|eot_id|>',
  '<|im_end|>',
  '<|end|>',
  '<end_of_turn>',
  '<|eom_id|>',
  '<EOT>',
  '<end_of_utterance>',
];

/** Ids that end a generation: those the file names, and the control tokens that end a turn. */
export function endIds(vocabulary: GgufVocabulary): number[] {
  const { roles, tokens, kinds } = vocabulary;
  const ids = new Set([roles.eos, roles.eot, roles.eom].filter((id) => id !== undefined));
  if (kinds !== null) {
    for (const text of turnEnds) {
      const id = tokens.indexOf(text);
      if (id >= 0 && kinds[id] === tokenKinds.control) ids.add(id);
    }
  }
  return [...ids].sort((a, b) => a - b);
}
