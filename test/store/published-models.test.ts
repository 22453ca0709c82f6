import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { Tokenizer } from 'tokenizers';
import { afterAll, describe, expect, it } from 'vitest';
import { realDisk } from '../../src/platform/real-disk.ts';
import { readFolderManifest } from '../../src/store/folder-manifest.ts';
import { readGgufManifest } from '../../src/store/gguf-manifest.ts';

const cacheFolder = mkdtempSync(join(tmpdir(), 'cidery-formats-'));
afterAll(() => rmSync(cacheFolder, { recursive: true }));

/** Path of a catalogue file that a node of this machine has fetched, or null. */
function fetched(name: string): string | null {
  const home = process.env['CIDERY_HOME'] ?? join(homedir(), '.cidery');
  const path = join(home, 'models', 'starter', name);
  return existsSync(path) ? path : null;
}

describe('models that mlx-lm wrote', () => {
  const models = join(import.meta.dirname, '../golden/models');
  it.each(readdirSync(models))('%s', async (name) => {
    const folder = join(models, name);
    const manifest = await readFolderManifest(realDisk, folder, name);
    expect(manifest.tensors.length).toBeGreaterThan(8);
    const bytes = manifest.tensors.reduce((sum, { byteLength }) => sum + byteLength, 0);
    const held = manifest.files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
    expect(bytes).toBeGreaterThan(held * 0.5);
  });
});

describe('the starter', () => {
  const path = fetched('SmolLM2-135M-Instruct.Q4_1.gguf');
  // Skipped: the file is large and is fetched by whoever wants this test (the name says so).
  it.skipIf(path === null)(
    path === null ? 'skipped: the file is not in CIDERY_HOME/models/starter' : 'reads whole',
    async () => {
      const manifest = await readGgufManifest(realDisk, path ?? '', 'smollm2:135m', cacheFolder);
      expect(manifest.config).toEqual({
        model_type: 'llama',
        hidden_size: 576,
        num_hidden_layers: 30,
        intermediate_size: 1536,
        num_attention_heads: 9,
        num_key_value_heads: 3,
        head_dim: 64,
        max_position_embeddings: 8192,
        vocab_size: 49_152,
        tie_word_embeddings: true,
        rope_theta: 100_000,
        rms_norm_eps: 1e-5,
        attention_bias: false,
        mlp_bias: false,
        bos_token_id: 1,
        eos_token_id: 2,
      });
      expect(manifest.tensors).toHaveLength(272);
      expect(manifest.text.eosIds).toEqual([2]);
      const tokenizer = Tokenizer.fromFile(manifest.text.tokenizerPath ?? '');
      const text = '<|im_start|>user\nWhy is the sky blue in 2024?<|im_end|>\n';
      const encoding = await tokenizer.encode(text);
      expect(encoding.getIds()).toEqual([
        1, 4093, 198, 4898, 314, 260, 6376, 4461, 281, 216, 34, 32, 34, 36, 47, 2, 198,
      ]);
      expect(await tokenizer.decode(encoding.getIds(), false)).toBe(text);
    },
  );
});

describe('gemma 3', () => {
  const path = fetched('gemma-3-270m-q4_k_m.gguf');
  // Skipped: the file is large and is fetched by whoever wants this test (the name says so).
  it.skipIf(path === null)(
    path === null ? 'skipped: the file is not in CIDERY_HOME/models/starter' : 'reads whole',
    async () => {
      const manifest = await readGgufManifest(realDisk, path ?? '', 'gemma3:270m', cacheFolder);
      expect(manifest.config['model_type']).toBe('gemma3_text');
      expect(manifest.tensors).toHaveLength(236);
      expect(manifest.text.eosIds).toEqual([1, 106]);
      const tokenizer = Tokenizer.fromFile(manifest.text.tokenizerPath ?? '');
      const encoding = await tokenizer.encode('a  b\n\n<start_of_turn>é😀');
      expect(encoding.getTokens()).toEqual([
        '<bos>',
        'a',
        '▁▁',
        'b',
        '\n\n',
        '<start_of_turn>',
        'é',
        '😀',
      ]);
    },
    // 262,144 tokens: seconds alone, more on a busy machine.
    120_000,
  );
});
