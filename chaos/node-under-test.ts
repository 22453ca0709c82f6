import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Readable } from 'node:stream';
import { z } from 'zod';
import { CideryError } from '../src/base/error.ts';
import {
  type ClusterState,
  clusterStateSchema,
  deploymentSchema,
} from '../src/node/cluster-state.ts';
import type { ChaosOptions } from './arguments.ts';
import { chaosLimits } from './limits.ts';

type Instance = ClusterState['instances'][number];

const readyLine = z.looseObject({ event: z.literal('ready'), url: z.string() });

/** A daemon of its own with one deployment. */
export class NodeUnderTest {
  readonly url: string;
  readonly #process: ChildProcessByStdio<null, Readable, Readable>;
  /** The deployment under test: the name that requests ask for, since a model may have another. */
  deployment = '';
  #lastWords = '';

  private constructor(child: ChildProcessByStdio<null, Readable, Readable>, url: string) {
    this.#process = child;
    this.url = url;
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.#lastWords = (this.#lastWords + text).slice(-chaosLimits.lastWordsMaxCharacters);
    });
  }

  /**
   * Starts the launcher `cidery` with `home`, which has the model, and deploys it. Resolves when
   * the instance is ready.
   */
  static async start(cidery: string, home: string, options: ChaosOptions): Promise<NodeUnderTest> {
    const flags = ['start', '--json', '--port', '0', '--home', home];
    const child = spawn(process.execPath, [cidery, ...flags], {
      stdio: ['ignore', 'pipe', 'pipe'],
      // Answers are compared bit by bit: MLX's depend on the shape of each step.
      env: { ...process.env, CIDERY_EXECUTOR: 'cpu' },
    });
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    const first = await lines.next();
    if (first.done === true) throw new CideryError('chaos_node', 'the node did not come up');
    const node = new NodeUnderTest(child, readyLine.parse(JSON.parse(first.value)).url);
    try {
      await node.#deploy(options);
      await node.ready(new Set());
    } catch (error) {
      await node.stop();
      throw error;
    }
    return node;
  }

  async #deploy({ model, mode, ranks, split }: ChaosOptions): Promise<void> {
    const response = await fetch(`${this.url}/cluster/v1/deployments`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ model, mode, ranks, split }),
    });
    const text = await response.text();
    if (!response.ok) throw new CideryError('chaos_node', `no deployment: ${text}`);
    this.deployment = deploymentSchema.parse(JSON.parse(text)).id;
  }

  async #instance(): Promise<Instance | null> {
    const response = await fetch(`${this.url}/cluster/v1/state`);
    const { instances } = clusterStateSchema.parse(await response.json());
    return instances.find(({ deployment }) => deployment === this.deployment) ?? null;
  }

  /** Processes of the instance's ranks in rank order, once it is ready with none of `former`. */
  async ready(former: ReadonlySet<number>): Promise<number[]> {
    const endsAt = performance.now() + chaosLimits.readyMs;
    while (performance.now() < endsAt) {
      const instance = await this.#instance();
      const pids = instance?.ranks.flatMap(({ pid }) => (pid === null ? [] : [pid])) ?? [];
      const fresh = pids.length === instance?.plan.ranks && !pids.some((pid) => former.has(pid));
      if (instance?.state === 'ready' && fresh) return pids;
      if (instance?.state === 'failed') break;
      await sleep(chaosLimits.pollMs);
    }
    throw new CideryError('chaos_node', `the instance did not come back: ${this.#lastWords}`);
  }

  /** Ends it as Ctrl-C does. */
  async stop(): Promise<void> {
    if (this.#process.exitCode !== null) return;
    const closed = once(this.#process, 'close');
    this.#process.kill('SIGTERM');
    const timer = setTimeout(() => this.#process.kill('SIGKILL'), chaosLimits.leaveMs);
    await closed;
    clearTimeout(timer);
  }
}
