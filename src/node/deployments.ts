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
  view: DeploymentView;
  /** Another one after it has failed and is asked for anew. */
  instance: Instance;
  memoryBytes: number;
  usedAt: number;
}

/** A new instance and the memory that its weights take. */
type Started = Pick<Deployment, 'instance' | 'memoryBytes'>;

/**
 * The models that are wanted, and the instance of each. A model that a request names is deployed on
 * the way; such a deployment makes room for another when memory is short and nobody uses it, one
 * that was asked for stays.
 */
export class Deployments {
  readonly #parts: DeploymentParts;
  readonly #deployments = new Map<DeploymentId, Deployment>();
  /**
   * Models and deployments being started now, so that requests at the same moment share one
   * instance.
   */
  readonly #arriving = new Map<string, Promise<Deployment>>();
  /** Instances are placed one after the other: each sees what the one before it takes. */
  #placing: Promise<unknown> = Promise.resolve();
  #closed = false;
  #clock = 0;

  constructor(parts: DeploymentParts) {
    this.#parts = parts;
  }

  list(): readonly { view: DeploymentView; instance: Instance; memoryBytes: number }[] {
    return [...this.#deployments.values()];
  }

  /**
   * Deploys a model that is on disk. One that a request has brought here already, with the same
   * settings, becomes the deployment. Throws `model_not_found`, `insufficient_memory`,
   * `split_unsupported`.
   */
  async create(wanted: NewDeployment): Promise<DeploymentView> {
    refuseSplits(wanted);
    const model = await this.#parts.library.resolve(wanted.model);
    const view = this.#view(model, wanted, false);
    // Whoever asked for that one is told if it fails.
    const arriving = this.#arriving.get(model.id);
    if (arriving !== undefined) await arriving.catch(() => {});
    const same = this.#of(model).find((one) => one.view.automatic && sameSettings(one.view, view));
    if (same !== undefined) {
      same.view = { ...same.view, automatic: false };
      same.usedAt = ++this.#clock;
      this.#parts.onChange();
      return same.view;
    }
    // A request that names the model meanwhile waits for this one.
    return (await this.#arrive(model.id, this.#create(model, view))).view;
  }

  /**
   * The instance that answers for a deployment's id or a model's name; deploys a model when nobody
   * has. One that has failed has told its reason and is started anew, as it was asked for.
   */
  async instanceFor(reference: string): Promise<Instance> {
    const named = this.#deployments.get(deploymentId(reference));
    if (named !== undefined) return this.#use(named);
    const model = await this.#parts.library.resolve(reference);
    const found = this.#find(model);
    if (found !== undefined) return this.#use(found);
    const arriving =
      this.#arriving.get(model.id) ??
      this.#arrive(model.id, this.#create(model, this.#view(model, { model: model.id }, true)));
    return this.#use(await arriving);
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

  /** Ends all of them; none can be started afterwards. */
  async stop(): Promise<void> {
    this.#closed = true;
    await Promise.all([...this.#deployments.keys()].map((id) => this.remove(id)));
  }

  async #use(deployment: Deployment): Promise<Instance> {
    deployment.usedAt = ++this.#clock;
    if (deployment.instance.state.kind !== 'failed') return deployment.instance;
    const { id } = deployment.view;
    const arriving = this.#arriving.get(id) ?? this.#arrive(id, this.#revive(deployment));
    return (await arriving).instance;
  }

  #arrive(key: string, starting: Promise<Deployment>): Promise<Deployment> {
    const arriving = starting.finally(() => {
      if (this.#arriving.get(key) === arriving) this.#arriving.delete(key);
    });
    this.#arriving.set(key, arriving);
    return arriving;
  }

  #of(model: ModelOnDisk): Deployment[] {
    return [...this.#deployments.values()].filter(({ view }) => view.model === model.id);
  }

  /** The model's deployment, rather one that has not failed. */
  #find(model: ModelOnDisk): Deployment | undefined {
    const own = this.#of(model);
    return own.find(({ instance }) => instance.state.kind !== 'failed') ?? own[0];
  }

  #view(model: ModelOnDisk, wanted: NewDeployment, automatic: boolean): DeploymentView {
    const { defaults, randomId } = this.#parts;
    const precise = wanted.mode === undefined ? defaults.precise : wanted.mode === 'precise';
    return {
      id: `deployment-${randomId()}`,
      model: model.id,
      context: wanted.context ?? defaults.contextLength,
      replicas: 1,
      split: wanted.split ?? 'auto',
      ranks: 1,
      mode: precise ? 'precise' : 'fast',
      automatic,
    };
  }

  #create(model: ModelOnDisk, view: DeploymentView): Promise<Deployment> {
    return this.#place(model, view, (started) => {
      const deployment = { view, ...started, usedAt: ++this.#clock };
      this.#deployments.set(deploymentId(view.id), deployment);
      return deployment;
    });
  }

  /** A fresh instance for a deployment whose own has failed. */
  async #revive(deployment: Deployment): Promise<Deployment> {
    const { view } = deployment;
    const model = await this.#parts.library.resolve(view.model);
    return this.#place(model, view, (started) => Object.assign(deployment, started));
  }

  /** Makes room and starts an instance; `keep` puts it where it is known. */
  async #place(
    model: ModelOnDisk,
    view: DeploymentView,
    keep: (started: Started) => Deployment,
  ): Promise<Deployment> {
    const manifest = await this.#parts.library.manifest(model);
    const placed = this.#placing.then(async () => {
      const memoryBytes = await this.#makeRoom(manifest, view);
      if (this.#closed) throw new CideryError('node_closing', 'the node is closing');
      const id = instanceId(`instance-${this.#parts.randomId()}`);
      const instance = new Instance(id, manifest, model.id, this.#settings(view), this.#parts);
      const deployment = keep({ instance, memoryBytes });
      this.#parts.onChange();
      return deployment;
    });
    this.#placing = placed.catch(() => {
      // Whoever asked for it is told.
    });
    return placed;
  }

  #settings(view: DeploymentView): EngineSettings {
    const { defaults, freeMemoryBytes } = this.#parts;
    return {
      executor: defaults.executor,
      precise: view.mode === 'precise',
      contextLength: view.context,
      cacheBytes: defaults.cacheBytes ?? Math.max(1, Math.floor(freeMemoryBytes() / 4)),
      slots: defaults.slots,
      threads: defaults.threads,
    };
  }

  /**
   * Ends idle automatic deployments, unused longest first, until the model's weights and one
   * context of at least 256 positions fit the free memory. Returns the bytes the weights take.
   */
  async #makeRoom(manifest: ModelManifest, view: DeploymentView): Promise<number> {
    const { program, spec } = buildModel(manifest);
    const { executor } = this.#parts.defaults;
    const mode = { executor, precise: view.mode === 'precise' };
    const weights = weightBytes(program, mode);
    const positions = Math.min(view.context ?? 256, spec.contextLength);
    const needed = weights + positions * cacheBytesPerPosition(program, mode);
    for (;;) {
      const free = this.#parts.freeMemoryBytes() - this.#promisedBytes();
      if (needed <= free) return weights;
      // A request that has just been given its instance reaches it within this turn.
      await this.#parts.clock.sleep(0);
      const idle = this.#idleDeployment();
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

  /**
   * The one that may go first: nobody asked for it, nobody uses it, and it was used the longest
   * ago.
   */
  #idleDeployment(): Deployment | undefined {
    return [...this.#deployments.values()]
      .filter(({ view, instance }) => view.automatic && instance.idle)
      .filter(({ instance }) => instance.state.kind !== 'failed')
      .sort((a, b) => a.usedAt - b.usedAt)[0];
  }

  /** Memory that instances will take that are still loading. */
  #promisedBytes(): number {
    return [...this.#deployments.values()]
      .filter(({ instance }) => instance.state.kind === 'starting')
      .reduce((sum, { memoryBytes }) => sum + memoryBytes, 0);
  }
}

function sameSettings(a: DeploymentView, b: DeploymentView): boolean {
  return a.context === b.context && a.mode === b.mode && a.split === b.split;
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
