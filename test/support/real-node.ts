import { cpSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { z } from 'zod';
import { limits } from '../../src/base/limits.ts';
import type { InstanceDefaults } from '../../src/node/deployments.ts';
import { CideryNode } from '../../src/node/node.ts';
import type { GroupBackend } from '../../src/engine/protocol.ts';
import { realLibrary } from '../../src/node/real-library.ts';
import { machineFacts, randomBytes, randomId, randomSeed } from '../../src/platform/machine.ts';
import { realRankSpawner } from '../../src/platform/rank-spawner.ts';
import { realClock } from '../../src/platform/real-clock.ts';
import type { Clock } from '../../src/ports/clock.ts';
import { tinyModels } from './rank-session.ts';
import { testExecutor } from './executor.ts';

/** The script of a rank, as set-up has built it. */
const rankScript = resolve(import.meta.dirname, '../../dist/engine/main.js');

/** The script of the thread that reads manifests, as set-up has built it. */
export const builtManifestWorker = pathToFileURL(
  resolve(import.meta.dirname, '../../dist/node/manifest-worker.js'),
);

export interface RealNodeOptions {
  readonly home: string;
  /** Variables that ranks get on top of this process's own. */
  readonly environment?: Readonly<Record<string, string>>;
  readonly defaults?: Partial<InstanceDefaults>;
  readonly groupBackend?: GroupBackend;
  readonly clock?: Clock;
}

/** A node with real ranks, whose clock may be another's. */
export function realNode(options: RealNodeOptions): CideryNode {
  return new CideryNode({
    library: realLibrary(options.home, { HF_HOME: options.home }, homedir(), builtManifestWorker),
    spawner: realRankSpawner({
      script: rankScript,
      environment: { ...process.env, MLX_DISABLE_COMPILE: '1', ...options.environment },
      logLineMaxCharacters: 1_000,
    }),
    clock: options.clock ?? realClock,
    machine: { ...machineFacts(), nodeId: 'test' },
    defaults: {
      executor: testExecutor,
      precise: true,
      contextLength: null,
      cacheBytes: 2 ** 26,
      slots: 8,
      threads: 0,
      ranks: 1,
      split: 'auto',
      ...options.defaults,
    },
    version: '0',
    randomId,
    randomSeed,
    randomBytes,
    silenceMs: limits.rankStoppedMs,
    groupBackend: options.groupBackend ?? 'tcp',
  });
}

/** The id of a tiny model in the node's library. */
export async function admitTiny(node: CideryNode, name: string): Promise<string> {
  return (await node.library.admit(join(tinyModels, name))).id;
}

/** As `admitTiny`, with a context that no test comes to the end of. */
export async function admitTinyWithLongContext(
  node: CideryNode,
  name: string,
  scratch: string,
): Promise<string> {
  const folder = mkdtempSync(join(scratch, 'long-'));
  cpSync(join(tinyModels, name), folder, { recursive: true });
  const path = join(folder, 'config.json');
  const config = z.looseObject({}).parse(JSON.parse(readFileSync(path, 'utf8')));
  writeFileSync(path, JSON.stringify({ ...config, max_position_embeddings: 1 << 17 }));
  return (await node.library.admit(folder)).id;
}

/** Whether a process runs; one that has ended and that nobody has waited for does not. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    if (process.platform !== 'linux') return true;
    // The state stands behind the name in brackets; Z is a zombie.
    return !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return false;
  }
}

/** Resolves when `holds` does; rejects after `ms` with what was waited for. */
export async function eventually(what: string, holds: () => boolean, ms = 20_000): Promise<void> {
  for (const end = Date.now() + ms; !holds(); ) {
    if (Date.now() > end) throw new Error(`it never happened: ${what}`);
    await realClock.sleep(20);
  }
}
