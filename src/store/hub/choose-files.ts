import { CideryError } from '../../base/error.ts';

/**
 * The paths that a model needs of its repository; the small ones are fetched before the weights.
 */
export interface ChosenFiles {
  readonly kind: 'safetensors' | 'gguf';
  readonly small: readonly string[];
  readonly weights: readonly string[];
  /** Which quantization a GGUF choice is, as its file name says it; null for safetensors. */
  readonly quantization: string | null;
}

const smallFiles = new Set([
  'config.json',
  'generation_config.json',
  'tokenizer.json',
  'tokenizer_config.json',
  'tokenizer.model',
  'special_tokens_map.json',
  'added_tokens.json',
  'chat_template.jinja',
  'chat_template.json',
  'model.safetensors.index.json',
]);

/**
 * Best first: small loss at a quarter of the size, then larger ones, then smaller ones, then plain
 * floats.
 */
const preferredQuantizations = [
  'Q4_K_M',
  'Q4_K_S',
  'Q4_K',
  'Q5_K_M',
  'Q5_K_S',
  'Q5_K',
  'Q6_K',
  'Q8_0',
  'Q4_1',
  'Q4_0',
  'IQ4_NL',
  'MXFP4',
  'Q5_1',
  'Q5_0',
  'Q3_K_L',
  'Q3_K_M',
  'Q3_K_S',
  'Q3_K',
  'Q2_K',
  'BF16',
  'F16',
  'F32',
];

const shard = /-(\d{5})-of-(\d{5})(\.[a-z]+)$/;
const blockLabel = String.raw`(?:UD-)?I?Q\d_[A-Z0-9]+(?:_[A-Z0-9]+)?`;
const otherLabels = String.raw`BF16|F16|F32|FP16|FP32|MXFP4(?:_MOE)?|TQ\d_\d`;
const quantizationLabel = new RegExp(`(?:^|[-._/])(${blockLabel}|${otherLabels})$`, 'i');

/** What a GGUF file's name says of its quantization, in capitals; null when it says nothing. */
export function quantizationOf(path: string): string | null {
  const stem = path.replace(shard, '$3').replace(/\.gguf$/i, '');
  return quantizationLabel.exec(stem)?.[1]?.toUpperCase() ?? null;
}

/** The name that all shards of one set share; a file that is no shard is a set of its own. */
export function shardSetOf(path: string): string {
  return path.replace(shard, '-of-$2$3');
}

/** Names of shards that a set says it has and that are not among the given paths. */
export function missingShards(paths: readonly string[]): string[] {
  const there = new Set(paths);
  const missing: string[] = [];
  // One pass a set: a lying count must not become 99,999 names for each of its files.
  const oneOfEachSet = new Map(paths.map((path) => [shardSetOf(path), path]));
  for (const path of oneOfEachSet.values()) {
    const match = shard.exec(path);
    if (match === null) continue;
    const [, , count = '', ending = ''] = match;
    const stem = path.slice(0, match.index);
    for (let index = 1; index <= Number(count); index++) {
      const name = `${stem}-${String(index).padStart(5, '0')}-of-${count}${ending}`;
      if (!there.has(name)) missing.push(name);
    }
  }
  return missing;
}

/**
 * Which root-level safetensors files are the weights: the sharded `model-…` set, else
 * `model.safetensors`, else every one that is not a second copy in another layout or an adapter.
 */
export function weightFilesOf(paths: readonly string[]): string[] {
  const roots = paths.filter((path) => !path.includes('/') && path.endsWith('.safetensors'));
  const sharded = roots.filter((path) => /^model-\d{5}-of-\d{5}\.safetensors$/.test(path));
  if (sharded.length > 0) return sharded;
  if (roots.includes('model.safetensors')) return ['model.safetensors'];
  return roots.filter((path) => !/^(consolidated|adapter)/.test(path));
}

/** Sets of GGUF weights by quantization; projectors of images are no models. */
export function ggufSets(paths: readonly string[]): Map<string, string[]> {
  const sets = new Map<string, string[]>();
  for (const path of paths) {
    const name = path.slice(path.lastIndexOf('/') + 1);
    if (!/\.gguf$/i.test(name) || /mmproj/i.test(name)) continue;
    const key = shardSetOf(path);
    sets.set(key, [...(sets.get(key) ?? []), path]);
  }
  return sets;
}

/**
 * The best of some quantization names, by our order; names outside the order come last, as they
 * stand.
 */
export function bestQuantization(names: readonly string[]): string | null {
  const preferred = preferredQuantizations.find((name) => names.includes(name));
  return preferred ?? names[0] ?? null;
}

function chooseGguf(
  repository: string,
  paths: readonly string[],
  wanted: string | null,
): ChosenFiles {
  const sets = [...ggufSets(paths).entries()].sort(([a], [b]) => (a < b ? -1 : 1));
  const named = sets.map(([, set]) => ({ label: quantizationOf(set[0] ?? '') ?? 'GGUF', set }));
  const labels = [...new Set(named.map(({ label }) => label))];
  const label = wanted === null ? bestQuantization(labels) : wanted.toUpperCase();
  const match = named.find((entry) => entry.label === label);
  if (match === undefined) {
    throw new CideryError(
      'model_not_found',
      `${repository} has no GGUF file ${wanted ?? ''}`.trimEnd(),
      {
        hint: labels.length === 0 ? 'it has no .gguf files' : `it has: ${labels.join(', ')}`,
      },
    );
  }
  refuseMissing(repository, missingShards(match.set));
  const weights = [...match.set].sort();
  return { kind: 'gguf', small: [], weights, quantization: match.label };
}

function refuseMissing(repository: string, missing: readonly string[]): void {
  if (missing.length === 0) return;
  throw new CideryError('hub_incomplete', `${repository} lacks ${missing.slice(0, 3).join(', ')}`, {
    hint: 'the repository is being uploaded or is broken; try another one',
  });
}

/**
 * Chooses what is needed: config, tokenizer, template and safetensors at the root, or one set of
 * GGUF files. Pickles, other frameworks' copies, code and everything in folders (but GGUF) are left
 * where they are.
 * Errors: `model_not_found` (no such quantization), `hub_no_weights`, `hub_incomplete`.
 */
export function chooseFiles(
  repository: string,
  paths: readonly string[],
  quantization: string | null,
): ChosenFiles {
  const weights = weightFilesOf(paths).sort();
  if (quantization !== null || (weights.length === 0 && ggufSets(paths).size > 0)) {
    return chooseGguf(repository, paths, quantization);
  }
  if (weights.length === 0 || !paths.includes('config.json')) {
    const lacks = weights.length === 0 ? 'no safetensors or GGUF weights' : 'no config.json';
    throw new CideryError('hub_no_weights', `${repository} has ${lacks}`, {
      hint: 'look for a conversion of this model (safetensors, MLX or GGUF)',
    });
  }
  refuseMissing(repository, missingShards(weights));
  return {
    kind: 'safetensors',
    small: paths.filter((path) => smallFiles.has(path)),
    weights,
    quantization: null,
  };
}
