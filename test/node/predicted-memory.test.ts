import { readFileSync } from 'node:fs';
import { afterEach, expect, test } from 'vitest';
import type { InstanceView } from '../../src/node/cluster-state.ts';
import type { CideryNode } from '../../src/node/node.ts';
import { memoryOfRanks } from '../../src/node/predicted-memory.ts';
import { optionsWith } from '../support/rank-session.ts';
import { eventually, realNode } from '../support/real-node.ts';
import { starterHome, starterModel } from '../support/starter-model.ts';

/** What is predicted of each rank, and what it takes when a sequence fills the context. */

const contextLength = 512;
const never = new AbortController().signal;
let node: CideryNode | null = null;
afterEach(() => node?.close());

/** What ranks take, of what was predicted for them. */
function shares({ ranks, plan }: InstanceView): number[] {
  const { predicted } = plan;
  return ranks.map(({ memoryBytes }, rank) => {
    return memoryBytes / memoryOfRanks(predicted.ranks.slice(rank, rank + 1));
  });
}

async function fillContext(running: CideryNode, least: number): Promise<InstanceView> {
  const ids = Array.from({ length: contextLength - 8 }, (_, index) => 100 + index);
  const input = { kind: 'ids', ids } as const;
  const options = optionsWith({ maxTokens: 8, ignoreEos: true });
  const { events } = await running.generate({ model: starterModel, input, options }, never);
  let tokens = 0;
  for await (const event of events) if (event.type === 'delta') tokens += event.ids.length;
  expect(tokens).toBe(8);
  const shown = () => running.state().instances;
  // Ranks report every second.
  const isFull = () => shown().every((instance) => shares(instance).every((one) => one > least));
  await eventually('reports of full ranks', isFull);
  const [instance] = shown();
  if (instance === undefined) throw new Error('there is no instance');
  return instance;
}

// On mlx what a step works in is bounded, on cpu it is known.
test.each([
  ['cpu', 1, 'auto', false, 0.98],
  ['cpu', 3, 'tensor', true, 0.98],
  ['cpu', 2, 'pipeline', false, 0.98],
  ['mlx', 2, 'tensor', true, 0.85],
] as const)(
  '%s, %i ranks, %s, precise %s: each takes what was predicted',
  async (executor, ranks, split, precise, least) => {
    const defaults = { executor, ranks, split, precise, contextLength, threads: 1 };
    node = realNode({ home: await starterHome(), defaults });
    const instance = await fillContext(node, least);
    expect(instance.plan.predicted.ranks.length).toBe(ranks);
    expect(instance.plan.predicted.memoryBytes).toBe(memoryOfRanks(instance.plan.predicted.ranks));
    for (const share of shares(instance)) expect(share).toBeLessThan(1.02);
    if (executor === 'cpu') checkProcesses(instance);
  },
  180_000,
);

/** What the system counts beyond the prediction is Node's own; the first has a tokenizer, too. */
function checkProcesses({ ranks, plan }: InstanceView): void {
  if (process.platform !== 'linux') {
    process.stdout.write('// Skipped: what processes take, as there is no /proc here\n');
    return;
  }
  for (const { rank, pid } of ranks.slice(1)) {
    const status = readFileSync(`/proc/${pid}/status`, 'utf8');
    const residentBytes = Number(/^VmRSS:\s+(\d+) kB$/mu.exec(status)?.[1]) * 1_024;
    const beyond = residentBytes - memoryOfRanks(plan.predicted.ranks.slice(rank, rank + 1));
    expect(beyond).toBeGreaterThan(30 * 2 ** 20);
    expect(beyond).toBeLessThan(130 * 2 ** 20);
  }
}
