import { randomUUID } from 'node:crypto';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { CideryError } from '../base/error.ts';
import { limits } from '../base/limits.ts';
import { type GroupBackend, groupBackends } from '../engine/protocol.ts';
import { machineFacts, randomBytes, randomId, randomSeed } from '../platform/machine.ts';
import { realRankSpawner } from '../platform/rank-spawner.ts';
import { realClock } from '../platform/real-clock.ts';
import { realDisk } from '../platform/real-disk.ts';
import type { Disk } from '../ports/disk.ts';
import type { InstanceDefaults } from './deployments.ts';
import { CideryNode } from './node.ts';
import type { WantedSplit } from './rank-plan.ts';
import { realLibrary } from './real-library.ts';
import { version } from './version.ts';

export interface NodeSettings {
  /** Absolute path of CIDERY_HOME. */
  readonly home: string;
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** Null: the one that suits this machine. */
  readonly executor: 'cpu' | 'mlx' | null;
  readonly precise: boolean;
  /** Null: the model's own maximum as far as it fits. */
  readonly contextLength: number | null;
  /** Bytes for keys and values of an instance; null: a quarter of the free memory. */
  readonly cacheBytes: number | null;
  /** Of each rank; 0: the ranks of an instance share the cores. */
  readonly threads: number;
  /** What models are split over unless a deployment says otherwise. */
  readonly ranks: number;
  readonly split: WantedSplit['split'];
}

/** A node of this machine, on the real disk, network and processes. It listens nowhere. */
export async function openNode(settings: NodeSettings): Promise<CideryNode> {
  const { environment, home } = settings;
  const machine = machineFacts();
  return new CideryNode({
    library: realLibrary(
      home,
      environment,
      homedir(),
      // Named from the folder above, as bundled code may lie in another one.
      new URL('../node/manifest-worker.js', import.meta.url),
    ),
    spawner: realRankSpawner({
      script: fileURLToPath(new URL('../engine/main.js', import.meta.url)),
      environment: rankEnvironment(environment),
      logLineMaxCharacters: limits.rankLogLineMaxCharacters,
    }),
    clock: realClock,
    machine: { ...machine, nodeId: await nodeIdentity(realDisk, home) },
    defaults: instanceDefaults(settings),
    version: version(),
    randomId,
    randomSeed,
    randomBytes,
    silenceMs: chosenSilenceMs(environment),
    groupBackend: chosenGroupBackend(environment),
  });
}

function instanceDefaults(settings: NodeSettings): InstanceDefaults {
  const { precise, contextLength, cacheBytes, threads, ranks, split } = settings;
  const executor = chosenExecutor(settings);
  const slots = limits.slotsPerInstance[executor];
  return { executor, precise, contextLength, cacheBytes, threads, slots, ranks, split };
}

/**
 * The executor as told, else the one that suits this machine: MLX where it drives a GPU, our own
 * kernels elsewhere. Throws `setting_invalid`.
 */
export function chosenExecutor(
  settings: Pick<NodeSettings, 'executor' | 'environment'>,
): 'cpu' | 'mlx' {
  if (settings.executor !== null) return settings.executor;
  const named = settings.environment['CIDERY_EXECUTOR'];
  if (named === undefined || named === '') {
    return process.platform === 'darwin' && process.arch === 'arm64' ? 'mlx' : 'cpu';
  }
  if (named === 'cpu' || named === 'mlx') return named;
  throw new CideryError('setting_invalid', `CIDERY_EXECUTOR is '${named}'`, {
    hint: 'set it to cpu or mlx',
  });
}

/** Throws `setting_invalid`. */
function chosenSilenceMs(environment: NodeSettings['environment']): number {
  const named = environment['CIDERY_SILENCE_MS'];
  if (named === undefined || named === '') return limits.rankStoppedMs;
  const silenceMs = Number(named);
  const { rankStoppedLeastMs: least, rankStoppedMostMs: most } = limits;
  if (Number.isInteger(silenceMs) && silenceMs >= least && silenceMs <= most) return silenceMs;
  throw new CideryError('setting_invalid', `CIDERY_SILENCE_MS is '${named}'`, {
    hint: `set it to whole milliseconds from ${least} to ${most}`,
  });
}

/** Throws `setting_invalid`. */
function chosenGroupBackend(environment: NodeSettings['environment']): GroupBackend {
  const named = environment['CIDERY_GROUP'];
  if (named === undefined || named === '') return 'tcp';
  const known = groupBackends.find((backend) => backend === named);
  if (known !== undefined) return known;
  throw new CideryError('setting_invalid', `CIDERY_GROUP is '${named}'`, {
    hint: 'leave it out: ranks then talk sealed, over tcp',
  });
}

/** A rank gets what it needs to run and nothing secret: no tokens of hubs, no API key. */
function rankEnvironment(
  environment: NodeSettings['environment'],
): Record<string, string | undefined> {
  const {
    HF_TOKEN: _token,
    CIDERY_API_KEY: _key,
    HUGGING_FACE_HUB_TOKEN: _old,
    ...rest
  } = environment;
  return { ...rest, MLX_DISABLE_COMPILE: '1' };
}

/** The node's id, the same at every start of this home. */
async function nodeIdentity(disk: Disk, home: string): Promise<string> {
  const path = join(home, 'node', 'id');
  if ((await disk.facts(path)) !== null) {
    const id = (await disk.readText(path, 128)).trim();
    if (/^[\w-]{8,64}$/.test(id)) return id;
  }
  const id = randomUUID();
  await disk.makeFolder(join(home, 'node'));
  await disk.writeTextAtomically(path, `${id}\n`);
  return id;
}
