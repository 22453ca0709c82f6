import { CideryError } from '../base/error.ts';
import { type DeploymentId, deploymentId, instanceId } from '../base/ids.ts';
import type { EngineSettings } from '../engine/protocol.ts';
import { cacheBytesPerPosition, weightBytes } from '../model/memory.ts';
import { buildModel } from '../model/model.ts';
import type { ModelManifest } from '../model/manifest.ts';
import type { DeploymentView, NewDeployment } from './cluster-state.ts';
import { Instance, type InstanceParts } from './instance.ts';
import type { ModelLibrary, ModelOnDisk } from './model-library.ts';

/** What instances are run with unless a deployment says otherwise. */
export interface InstanceDefaults {
  readonly executor: 'cpu' | 'mlx';
  readonly precise: boolean;
  readonly contextLength: number | null;
  /** Null: a quarter of the free memory. */
  readonly cacheBytes: number | null;
  readonly slots: number;
  readonly threads: number;
}

export interface DeploymentParts extends InstanceParts {
  readonly library: ModelLibrary;
  readonly defaults: InstanceDefaults;
  readonly freeMemoryBytes: () => number;
  readonly randomId: () => string;
}

interface Deployment {
  readonly view: DeploymentView;
  readonly instance: Instance;
  readonly memoryBytes: number;
  usedAt: number;
}

/**
 * The models that are wanted, and the instance of each. A model that a request names is deployed on the way; such a
 * deployment makes room for another when memory is short and nobody uses it, one that was asked for stays.
 */
export class Deployments {
  readonly #parts: DeploymentParts;
  readonly #deployments = new Map<DeploymentId, Deployment>();
  /** Models being deployed now, so that requests at the same moment share one instance. */
  readonly #arriving = new Map<string, Promise<Deployment>>();
  #clock = 0;

  constructor(parts: DeploymentParts) {
    this.#parts = parts;
  }

  list(): readonly { view: DeploymentView; instance: Instance; memoryBytes: number }[] {
    return [...this.#deployments.values()];
  }

  /** Deploys a model that is on disk. Throws `model_not_found`, `insufficient_memory`, `split_unsupported`. */
  async create(wanted: NewDeployment): Promise<DeploymentView> {
    return (await this.#create(wanted, false)).view;
  }

  /** The instance that answers for a model's name; deploys the model when nobody has. */
  async instanceFor(reference: string): Promise<Instance> {
    const model = await this.#parts.library.resolve(reference);
    const found = this.#find(model);
    const arriving = this.#arriving.get(model.id);
    const deployment = found ?? (await (arriving ?? this.#arrive(model.id, { model: reference })));
    deployment.usedAt = ++this.#clock;
    return deployment.instance;
  }

  /** Ends a deployment. Throws `deployment_not_found`. */
  async remove(id: string): Promise<void> {
    const found = this.#deployments.get(deploymentId(id));
    if (found === undefined) {
      throw new CideryError('deployment_not_found', `there is no deployment ${id}`, {
        hint: '`cidery ps` lists them',
      });
    }
    this.#deployments.delete(deploymentId(id));
    await found.instance.stop();
    this.#parts.onChange();
  }

  async stop(): Promise<void> {
    await Promise.all([...this.#deployments.keys()].map((id) => this.remove(id)));
  }

  #arrive(id: string, wanted: NewDeployment): Promise<Deployment> {
    const arriving = this.#create(wanted, true).finally(() => this.#arriving.delete(id));
    this.#arriving.set(id, arriving);
    return arriving;
  }

  #find(model: ModelOnDisk): Deployment | undefined {
    return [...this.#deployments.values()].find(
      ({ instance }) => instance.model === model.id && instance.state.kind !== 'failed',
    );
  }

  async #create(wanted: NewDeployment, automatic: boolean): Promise<Deployment> {
    refuseSplits(wanted);
    const { library, defaults } = this.#parts;
    const model = await library.resolve(wanted.model);
    const manifest = await library.manifest(model);
    const settings = this.#settings(wanted);
    const memoryBytes = await this.#makeRoom(manifest, settings);
    // A failed one of the same model has told its reason; the new one takes its place.
    for (const [id, { instance }] of this.#deployments) {
      if (instance.model === model.id && instance.state.kind === 'failed') await this.remove(id);
    }
    const id = deploymentId(`deployment-${this.#parts.randomId()}`);
    const view: DeploymentView = {
      id,
      model: model.id,
      context: wanted.context ?? defaults.contextLength,
      replicas: 1,
      split: wanted.split ?? 'auto',
      ranks: 1,
      mode: settings.precise ? 'precise' : 'fast',
      automatic,
    };
    const name = instanceId(`instance-${this.#parts.randomId()}`);
    const instance = new Instance(name, manifest, model.id, settings, this.#parts);
    const deployment = { view, instance, memoryBytes, usedAt: ++this.#clock };
    this.#deployments.set(id, deployment);
    this.#parts.onChange();
    return deployment;
  }

  #settings(wanted: NewDeployment): EngineSettings {
    const { defaults, freeMemoryBytes } = this.#parts;
    return {
      executor: defaults.executor,
      precise: wanted.mode === undefined ? defaults.precise : wanted.mode === 'precise',
      contextLength: wanted.context ?? defaults.contextLength,
      cacheBytes: defaults.cacheBytes ?? Math.max(1, Math.floor(freeMemoryBytes() / 4)),
      slots: defaults.slots,
      threads: defaults.threads,
    };
  }

  /**
   * Ends idle automatic deployments, unused longest first, until the model's weights and one context of at least 256
   * positions fit the free memory. Returns the bytes the weights take.
   */
  async #makeRoom(manifest: ModelManifest, settings: EngineSettings): Promise<number> {
    const { program, spec } = buildModel(manifest);
    const weights = weightBytes(program, {
      executor: settings.executor,
      precise: settings.precise,
    });
    const positions = Math.min(settings.contextLength ?? 256, spec.contextLength);
    const needed = weights + positions * cacheBytesPerPosition(program, settings.precise);
    for (;;) {
      const free = this.#parts.freeMemoryBytes() - this.#promisedBytes();
      if (needed <= free) return weights;
      const idle = [...this.#deployments.values()]
        .filter(({ view, instance }) => view.automatic && instance.requests === 0)
        .sort((a, b) => a.usedAt - b.usedAt)[0];
      if (idle === undefined) {
        throw new CideryError(
          'insufficient_memory',
          `${manifest.id} needs ${inMiB(needed)} and ${inMiB(free)} are free`,
          { hint: 'stop another model (`cidery ps`, `cidery stop ID`) or choose a smaller one' },
        );
      }
      await this.remove(idle.view.id);
    }
  }

  /** Memory that instances will take that are still loading. */
  #promisedBytes(): number {
    return [...this.#deployments.values()]
      .filter(({ instance }) => instance.state.kind === 'starting')
      .reduce((sum, { memoryBytes }) => sum + memoryBytes, 0);
  }
}

function refuseSplits(wanted: NewDeployment): void {
  if ((wanted.ranks ?? 1) > 1 || (wanted.replicas ?? 1) > 1) {
    throw new CideryError(
      'split_unsupported',
      'this version runs a model in one rank on one machine',
      { hint: 'leave out ranks and replicas' },
    );
  }
}

function inMiB(bytes: number): string {
  return `${Math.ceil(bytes / 2 ** 20)} MiB`;
}
