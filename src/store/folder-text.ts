import { z } from 'zod';
import { limits } from '../base/limits.ts';
import type { ModelText } from '../model/manifest.ts';
import type { Disk } from '../ports/disk.ts';
import { brokenFile } from './model-file-error.ts';
import { parsePythonJson } from './python-json.ts';

/** A JSON object, as every file of a model folder is one. */
type JsonObject = Record<string, unknown>;

const eosSchema = z.union([z.int().nonnegative(), z.array(z.int().nonnegative())]);
const tokenSchema = z.union([z.string(), z.object({ content: z.string() })]);
const templateListSchema = z.array(z.object({ name: z.string(), template: z.string() }));
const addedTokenSchema = z.object({ id: z.int().nonnegative(), content: z.string() });

/** A JSON object in a file of the folder, or null when the file is not there. */
export async function readJsonObject(
  disk: Disk,
  path: string,
  maxBytes: number,
): Promise<JsonObject | null> {
  if ((await disk.facts(path))?.kind !== 'file') return null;
  const text = await disk.readText(path, maxBytes);
  let parsed: unknown;
  try {
    parsed = parsePythonJson(text);
  } catch (error) {
    throw brokenFile(path, 'it is not JSON', error);
  }
  const object = z.record(z.string(), z.unknown()).safeParse(parsed);
  if (!object.success) throw brokenFile(path, 'it is not a JSON object');
  return object.data;
}

/**
 * The text side of a Hugging Face or MLX folder. Template: chat_template.jinja, else
 * chat_template.json, else tokenizer_config.json. Ends: generation_config's eos_token_id, else
 * config's, and always the tokenizer's own (mlx-lm: utils.load_config and TokenizerWrapper). The
 * tokenizer itself is only pointed to.
 */
export async function readFolderText(
  disk: Disk,
  folder: string,
  config: JsonObject,
): Promise<ModelText> {
  const read = (name: string): Promise<JsonObject | null> =>
    readJsonObject(disk, `${folder}/${name}`, limits.modelConfigMaxBytes);
  const tokenizerConfig = await read('tokenizer_config.json');
  const tokenizerPath = `${folder}/tokenizer.json`;
  const hasTokenizer = (await disk.facts(tokenizerPath))?.kind === 'file';
  const specialTokens = {
    ...tokensIn(await read('special_tokens_map.json')),
    ...tokensIn(tokenizerConfig),
  };
  const ids = new Set(configuredEos(config, await read('generation_config.json'), folder));
  const eosToken = specialTokens['eos_token'];
  if (eosToken !== undefined) {
    const id =
      idInConfig(tokenizerConfig, eosToken) ??
      (hasTokenizer ? await idInTokenizer(disk, tokenizerPath, eosToken) : null);
    if (id !== null) ids.add(id);
  }
  return {
    tokenizerPath: hasTokenizer ? tokenizerPath : null,
    chatTemplate: await readTemplate(
      disk,
      folder,
      await read('chat_template.json'),
      tokenizerConfig,
    ),
    specialTokens,
    eosIds: [...ids].sort((a, b) => a - b),
  };
}

/** bos_token, eos_token and the like: texts, or objects with the text in `content`. */
function tokensIn(source: JsonObject | null): Record<string, string> {
  const tokens: Record<string, string> = {};
  for (const [name, value] of Object.entries(source ?? {})) {
    if (!name.endsWith('_token')) continue;
    const token = tokenSchema.safeParse(value);
    if (token.success)
      tokens[name] = typeof token.data === 'string' ? token.data : token.data.content;
  }
  return tokens;
}

function configuredEos(
  config: JsonObject,
  generationConfig: JsonObject | null,
  folder: string,
): number[] {
  // An id of 0 in generation_config.json does not count for mlx-lm; here it does.
  const value = generationConfig?.['eos_token_id'] ?? config['eos_token_id'] ?? nestedEos(config);
  if (value === undefined || value === null) return [];
  const parsed = eosSchema.safeParse(value);
  if (!parsed.success)
    throw brokenFile(folder, 'its eos_token_id is not a token id or a list of them');
  return typeof parsed.data === 'number' ? [parsed.data] : parsed.data;
}

/** Models that also see or hear keep the text model's config one level down. */
function nestedEos(config: JsonObject): unknown {
  const nested = z.object({ eos_token_id: z.unknown() }).safeParse(config['text_config']);
  return nested.success ? nested.data.eos_token_id : undefined;
}

/**
 * Looks the token up in tokenizer_config.json's `added_tokens_decoder` (id to token), which is
 * small.
 */
function idInConfig(tokenizerConfig: JsonObject | null, content: string): number | null {
  const decoder = z
    .record(z.string(), z.unknown())
    .safeParse(tokenizerConfig?.['added_tokens_decoder']);
  for (const [key, value] of Object.entries(decoder.data ?? {})) {
    const token = tokenSchema.safeParse(value);
    const text = typeof token.data === 'string' ? token.data : token.data?.content;
    const id = Number(key);
    if (text === content && Number.isSafeInteger(id) && id >= 0) return id;
  }
  return null;
}

/** Looks the token up in tokenizer.json: among the added tokens, else in the model's vocabulary. */
async function idInTokenizer(disk: Disk, path: string, content: string): Promise<number | null> {
  const tokenizer = await readJsonObject(disk, path, limits.tokenizerFileMaxBytes);
  const added = z.array(z.unknown()).safeParse(tokenizer?.['added_tokens']);
  for (const item of added.data ?? []) {
    const token = addedTokenSchema.safeParse(item);
    if (token.success && token.data.content === content) return token.data.id;
  }
  const model = z
    .object({ vocab: z.record(z.string(), z.unknown()) })
    .safeParse(tokenizer?.['model']);
  const id = model.success ? model.data.vocab[content] : undefined;
  return typeof id === 'number' && Number.isSafeInteger(id) && id >= 0 ? id : null;
}

async function readTemplate(
  disk: Disk,
  folder: string,
  templateFile: JsonObject | null,
  tokenizerConfig: JsonObject | null,
): Promise<string | null> {
  const path = `${folder}/chat_template.jinja`;
  if ((await disk.facts(path))?.kind === 'file') {
    return disk.readText(path, limits.chatTemplateMaxBytes);
  }
  return (
    templateIn(templateFile?.['chat_template']) ?? templateIn(tokenizerConfig?.['chat_template'])
  );
}

/** A template, or the one named "default" (else the first) of a list of named ones. */
function templateIn(value: unknown): string | null {
  if (typeof value === 'string') return value;
  const list = templateListSchema.safeParse(value);
  if (!list.success) return null;
  const chosen = list.data.find(({ name }) => name === 'default') ?? list.data[0];
  return chosen?.template ?? null;
}
