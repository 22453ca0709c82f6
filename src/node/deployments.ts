import { CideryError, errorCode } from '../base/error.ts';
import { type DeploymentId, deploymentId, instanceId, type ModelId } from '../base/ids.ts';
import type { EngineSettings } from '../engine/protocol.ts';
import type { ModelManifest } from '../model/manifest.ts';
import type { WeightMode } from '../model/memory.ts';
import type { DeploymentView, NewDeployment, NewPlan } from './cluster-state.ts';
import { Instance, type InstanceParts } from './instance.ts';
import type { ModelLibrary, ModelOnDisk } from './model-library.ts';
import {
  planRanks,
  type RankPlan,
  refuseLongerContext,
  refuseSplitAlone,
  type WantedSplit,
} from './rank-plan.ts';

/** What instances are run with unless a deployment says otherwise. */
export interface InstanceDefaults {
  readonly executor: 'cpu' | 'mlx';
  readonly precise: boolean;
  readonly contextLength: number | null;
  /** Null: a quarter of the free memory. */
  readonly cacheBytes: number | null;
  readonly slots: number;
  /** Of each rank; 0: the ranks of an instance share the cores. */
  readonly threads: number;
  readonly ranks: number;
  readonly split: WantedSplit['split'];
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
  usedAt: number;
  /** Asked for by itself; null: the node's, which is the longest for every model. */
  askedContext: number | null;
}

/** How a model is to run: as a request says, else as the node does. Throws `split_invalid`. */
export function settingsOf(
  wanted: NewPlan,
  defaults: InstanceDefaults,
): Pick<DeploymentView, 'context' | 'split' | 'ranks' | 'mode'> {
  refuseSplitAlone(wanted);
  return {
    context: wanted.context ?? defaults.contextLength,
    split: wanted.split ?? defaults.split,
    ranks: wanted.ranks ?? defaults.ranks,
    mode: wanted.mode ?? (defaults.precise ? 'precise' : 'fast'),
  };
}

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

  list(): readonly { view: DeploymentView; instance: Instance }[] {
    return [...this.#deployments.values()];
  }

  /** The state of each model that is deployed: of several instances, that of the most useful. */
  states(): ReadonlyMap<ModelId, Instance['state']['kind']> {
    const byUse = [...this.#deployments.values()].sort(lessUsefulFirst);
    return new Map(byUse.map(({ instance }) => [instance.model, instance.state.kind]));
  }

  /**
   * Deploys a model that is on disk. One that a request has brought here already, with the same
   * settings, becomes the deployment. Throws `model_not_found`, `insufficient_memory`,
   * `split_impossible`, `split_invalid`, `context_too_long`, `unsupported`.
   */
  async create(wanted: NewDeployment): Promise<DeploymentView> {
    refuseReplicas(wanted);
    const model = await this.#parts.library.resolve(wanted.model);
    const view = this.#view(model, wanted, false);
    const askedContext = wanted.context ?? null;
    // Whoever asked for that one is told if it fails.
    const arriving = this.#arriving.get(model.id);
    if (arriving !== undefined) await arriving.catch(() => {});
    const same = this.#of(model.id).find(
      (one) => one.view.automatic && sameSettings(one.view, view),
    );
    if (same !== undefined) {
      refuseLongerContext(model.id, askedContext, same.instance.plan);
      same.askedContext = askedContext;
      same.view = { ...same.view, automatic: false };
      same.usedAt = ++this.#clock;
      this.#parts.onChange();
      return same.view;
    }
    // A request that names the model meanwhile waits for this one.
    return (await this.#arrive(model.id, this.#create(model, view, askedContext))).view;
  }

  /**
   * The instance that answers for a deployment's id or a model's name; deploys a model when nobody
   * has. One that has failed has told its reason and is started anew, as it was asked for.
   */
  async instanceFor(reference: string): Promise<Instance> {
    // One that is known by its whole name costs no look at the disk, which takes longer than all
    // else that a request costs here.
    const named = this.#deployments.get(deploymentId(reference)) ?? this.#find(reference);
    if (named !== undefined) return this.#use(named);
    const model = await this.#parts.library.resolve(reference);
    const found = this.#find(model.id);
    if (found !== undefined) return this.#use(found);
    const arriving =
      this.#arriving.get(model.id) ??
      this.#arrive(
        model.id,
        this.#create(model, this.#view(model, { model: model.id }, true), null),
      );
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

  #of(model: string): Deployment[] {
    return [...this.#deployments.values()].filter(({ view }) => view.model === model);
  }

  /** The model's deployment; of several the most useful, of those the first. */
  #find(model: string): Deployment | undefined {
    return this.#of(model).sort((a, b) => lessUsefulFirst(b, a))[0];
  }

  #view(model: ModelOnDisk, wanted: NewDeployment, automatic: boolean): DeploymentView {
    const { defaults, randomId } = this.#parts;
    const id = `deployment-${randomId()}`;
    return { id, model: model.id, ...settingsOf(wanted, defaults), replicas: 1, automatic };
  }

  #create(
    model: ModelOnDisk,
    view: DeploymentView,
    askedContext: number | null,
  ): Promise<Deployment> {
    return this.#place(model, { view, askedContext }, (instance) => {
      const deployment = { view, instance, usedAt: ++this.#clock, askedContext };
      this.#deployments.set(deploymentId(view.id), deployment);
      return deployment;
    });
  }

  /** A fresh instance for a deployment whose own has failed. */
  async #revive(deployment: Deployment): Promise<Deployment> {
    const model = await this.#parts.library.resolve(deployment.view.model);
    return this.#place(model, deployment, (instance) => Object.assign(deployment, { instance }));
  }

  /** Makes room and starts an instance; `keep` puts it where it is known. */
  async #place(
    model: ModelOnDisk,
    { view, askedContext }: Pick<Deployment, 'view' | 'askedContext'>,
    keep: (instance: Instance) => Deployment,
  ): Promise<Deployment> {
    const manifest = await this.#parts.library.manifest(model);
    const placed = this.#placing.then(async () => {
      const plan = planRanks(manifest, view, this.#mode(view));
      refuseLongerContext(model.id, askedContext, plan);
      await this.#makeRoom(model.id, view, plan);
      if (this.#closed) throw new CideryError('node_closing', 'the node is closing');
      const runnable = {
        id: instanceId(`instance-${this.#parts.randomId()}`),
        model: model.id,
        version: JSON.stringify([model.path, model.sizeBytes, model.modifiedMs]),
        manifest,
        settings: this.#settings(view),
        plan,
      };
      const instance: Instance = new Instance(runnable, this.#parts, ({ ranks }) =>
        this.#fewerRanks(manifest, view, ranks, instance),
      );
      const deployment = keep(instance);
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

  #mode(view: DeploymentView): WeightMode {
    return { executor: this.#parts.defaults.executor, precise: view.mode === 'precise' };
  }

  /**
   * Ends idle automatic deployments, unused longest first, until the weights of all ranks and one
   * context of at least 256 positions fit the free memory.
   */
  async #makeRoom(model: ModelId, view: DeploymentView, plan: RankPlan): Promise<void> {
    const needed = neededBytes(view, plan);
    for (;;) {
      const free = this.#parts.freeMemoryBytes() - this.#promisedBytes();
      if (needed <= free) return;
      // A request that has just been given its instance reaches it within this turn.
      await this.#parts.clock.sleep(0);
      const idle = this.#idleDeployment();
      if (idle === undefined) {
        throw new CideryError(
          'insufficient_memory',
          `${model} needs ${inMiB(needed)} and ${inMiB(free)} are free`,
          { hint: 'stop another model (`cidery ps`, `cidery stop ID`) or choose a smaller one' },
        );
      }
      await this.remove(idle.view.id);
    }
  }

  /** The most ranks below `ranks` that the model can be split over and that fit; null: none. */
  #fewerRanks(
    manifest: ModelManifest,
    view: DeploymentView,
    ranks: number,
    instance: Instance,
  ): RankPlan | null {
    const free = this.#parts.freeMemoryBytes() - this.#promisedBytes(instance);
    for (let fewer = ranks - 1; fewer >= 1; fewer--) {
      try {
        const plan = planRanks(manifest, { ranks: fewer, split: view.split }, this.#mode(view));
        if (neededBytes(view, plan) <= free) return plan;
      } catch (error) {
        if (errorCode(error) !== 'split_impossible') throw error;
      }
    }
    return null;
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

  /** Memory that instances will take that are still loading, but for one. */
  #promisedBytes(besides?: Instance): number {
    return [...this.#deployments.values()]
      .filter(({ instance }) => instance.state.kind === 'starting' && instance !== besides)
      .reduce((sum, { instance }) => sum + instance.plan.weightBytes, 0);
  }
}

const usefulness: readonly Instance['state']['kind'][] = ['stopped', 'failed', 'starting', 'ready'];

function lessUsefulFirst(a: Deployment, b: Deployment): number {
  const [first, second] = [a, b].map(({ instance }) => usefulness.indexOf(instance.state.kind));
  return (first ?? 0) - (second ?? 0);
}

/** Weights, and one context of at least 256 positions. */
function neededBytes(view: DeploymentView, plan: RankPlan): number {
  const positions = Math.min(view.context ?? 256, plan.contextLength);
  return plan.weightBytes + positions * plan.cacheBytesPerPosition;
}

function sameSettings(a: DeploymentView, b: DeploymentView): boolean {
  const sameSplit = a.ranks === b.ranks && (a.ranks === 1 || a.split === b.split);
  return a.context === b.context && a.mode === b.mode && sameSplit;
}

function refuseReplicas({ replicas }: NewDeployment): void {
  if ((replicas ?? 1) === 1) return;
  throw new CideryError('unsupported', 'this version runs one instance of a deployment', {
    hint: 'leave out replicas',
  });
}

function inMiB(bytes: number): string {
  return `${Math.ceil(bytes / 2 ** 20)} MiB`;
}
