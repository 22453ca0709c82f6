import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { tryFileLock } from '../../src/platform/file-lock.ts';
import { realClock } from '../../src/platform/real-clock.ts';
import { realDisk } from '../../src/platform/real-disk.ts';
import { realFetch } from '../../src/platform/real-fetch.ts';
import type { HubPorts, HubTuning } from '../../src/store/hub/access.ts';
import { type PulledModel, pullFromHub } from '../../src/store/hub/pull.ts';
import { requireRepository } from '../../src/store/hub/repository.ts';
import { type HubSettings, readHubSettings } from '../../src/store/hub/settings.ts';
import type { PullEvent } from '../../src/store/pull-progress.ts';
import { type FakeFile, FakeHub } from './fake-hub.ts';
import { randomBytes } from './random-bytes.ts';

const repository = 'acme/tiny';

/** The waits of a download, shortened so that a test of ten failures takes a second. */
export const quickTuning: HubTuning = {
  stallMs: 300,
  stallMinBytes: 1024,
  progressMinBytes: 50_000,
  maxAttempts: 4,
  retryBaseMs: 5,
  filesAtOnce: 2,
  rangesAtOnce: 3,
  rangeBytes: 256 * 1024,
  stateSaveMs: 20,
};

/** The same for tests in which no line stalls: a loaded machine may hold any of them up. */
export const patientTuning: HubTuning = { ...quickTuning, stallMs: 30_000 };

const text = (content: string): Uint8Array => new TextEncoder().encode(content);

/** A small model: what a pull wants, and beside it what it must leave. */
export const tinyFiles: readonly FakeFile[] = [
  { path: 'config.json', bytes: text('{"model_type":"llama"}'), lfs: false },
  { path: 'tokenizer.json', bytes: text('{"version":"1.0"}'), lfs: false },
  { path: 'README.md', bytes: text('# tiny'), lfs: false },
  { path: 'pytorch_model.bin', bytes: text('pickle'), lfs: true },
  { path: 'original/model.safetensors', bytes: text('other'), lfs: true },
  { path: 'modeling_tiny.py', bytes: text('print(1)'), lfs: false },
  { path: 'model-00001-of-00002.safetensors', bytes: randomBytes(1_500_000, 3), lfs: true },
  { path: 'model-00002-of-00002.safetensors', bytes: randomBytes(700_001, 5), lfs: true },
  { path: 'model.safetensors.index.json', bytes: text('{"weight_map":{}}'), lfs: false },
];

export const wantedPaths = [
  'config.json',
  'model-00001-of-00002.safetensors',
  'model-00002-of-00002.safetensors',
  'model.safetensors.index.json',
  'tokenizer.json',
];

export function fileOf(files: readonly FakeFile[], path: string): FakeFile {
  const file = files.find((candidate) => candidate.path === path);
  if (file === undefined) throw new Error(`the fake hub has no ${path}`);
  return file;
}

export const realPorts: HubPorts = {
  disk: realDisk,
  fetch: realFetch,
  clock: realClock,
  random: Math.random,
  tryLock: tryFileLock,
};

/** A fake hub, an empty cache, and a pull between them. */
export class HubWorld {
  readonly hub: FakeHub;
  readonly home: string;
  readonly events: PullEvent[] = [];
  environment: Record<string, string> = {};

  private constructor(hub: FakeHub, home: string) {
    this.hub = hub;
    this.home = home;
  }

  static async open(files: readonly FakeFile[] = tinyFiles): Promise<HubWorld> {
    const home = await mkdtemp(join(tmpdir(), 'cidery-hub-'));
    return new HubWorld(await FakeHub.start(repository, files), home);
  }

  async close(): Promise<void> {
    await this.hub.stop();
    await rm(this.home, { recursive: true });
  }

  get settings(): HubSettings {
    return readHubSettings({ HF_ENDPOINT: this.hub.url, ...this.environment }, this.home);
  }

  /** Path in the repository's folder of the cache. */
  inCache(...parts: string[]): string {
    return join(this.settings.cacheFolder, 'models--acme--tiny', ...parts);
  }

  snapshot(path: string): string {
    return this.inCache('snapshots', this.hub.commit, path);
  }

  pull(
    options: {
      reference?: string;
      signal?: AbortSignal;
      ports?: Partial<HubPorts>;
      tuning?: Partial<HubTuning>;
    } = {},
  ): Promise<PulledModel> {
    return pullFromHub(
      { ...realPorts, ...options.ports },
      this.settings,
      requireRepository(options.reference ?? repository),
      {
        signal: options.signal ?? new AbortController().signal,
        onEvent: (event) => this.events.push(event),
        tuning: { ...quickTuning, ...options.tuning },
      },
    );
  }

  /** The paths of wanted files whose bytes in the snapshot are not the hub's. */
  async wrongFiles(paths: readonly string[] = wantedPaths): Promise<string[]> {
    const wrong: string[] = [];
    for (const path of paths) {
      const bytes = await readFile(this.snapshot(path)).catch(() => null);
      if (bytes === null || !bytes.equals(fileOf(this.hub.files, path).bytes)) wrong.push(path);
    }
    return wrong;
  }
}
