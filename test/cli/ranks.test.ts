import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { ApiClient } from '../../src/api/client.ts';
import type { ClusterState } from '../../src/node/cluster-state.ts';
import { CliSandbox, onlyValue } from '../support/cli.ts';
import { Daemon } from '../support/daemon.ts';
import { starterHome, starterModel } from '../support/starter-model.ts';

/** `--ranks` and `--split`, as a user calls them. */

const never = new AbortController().signal;
const folder = mkdtempSync(join(tmpdir(), 'cidery-cli-ranks-'));
let sandbox: CliSandbox;
beforeAll(async () => {
  sandbox = await CliSandbox.open();
});
afterAll(async () => {
  await sandbox.close();
  rmSync(folder, { recursive: true });
});

const environment = { CIDERY_EXECUTOR: 'cpu' };
const prompt = ['Count to three.', '--max-tokens', '8', '--temperature', '0'];

test('run tells over how many ranks it ran, and answers what one rank answers', async () => {
  const home = await starterHome();
  const run = async (...flags: string[]) => {
    const args = ['run', starterModel, ...prompt, '--precise', '--json', ...flags];
    const result = await sandbox.run(args, { environment: { ...environment, CIDERY_HOME: home } });
    expect(result.status, result.stderr).toBe(0);
    return z.looseObject({ ids: z.array(z.int()), ranks: z.int() }).parse(onlyValue(result.stdout));
  };
  const [one, split] = [await run(), await run('--ranks', '2', '--split', 'pipeline')];
  expect([one.ranks, split.ranks]).toEqual([1, 2]);
  expect(split.ids).toEqual(one.ids);
});

test('debug runs every model over its ranks: the logits are those of one', async () => {
  const model = join(import.meta.dirname, '../golden/models/llama');
  const logits = async (name: string, ...flags: string[]) => {
    const out = join(folder, name);
    const input = JSON.stringify({ op: 'logits', model, ids: [3, 1, 4, 1, 5], last: 5, out });
    const args = ['debug', '--precise', '--executor', 'cpu', ...flags];
    const { status, stdout } = await sandbox.run(args, { input });
    expect([status, JSON.parse(stdout)]).toEqual([0, { rows: 5, vocabulary: 131 }]);
    return readFile(out);
  };
  const one = await logits('one');
  expect(await logits('tensor', '--ranks', '3', '--split', 'tensor')).toEqual(one);
  expect(await logits('pipeline', '--ranks', '2', '--split', 'pipeline')).toEqual(one);
});

test('more ranks than a model has parts end with 1 and what would work', async () => {
  const environmentOf = { ...environment, CIDERY_HOME: await starterHome() };
  const args = ['run', starterModel, 'p', '--ranks', '12', '--split', 'tensor', '--json'];
  const { status, stdout } = await sandbox.run(args, { environment: environmentOf });
  expect([status, onlyValue(stdout)]).toEqual([
    1,
    {
      error: {
        code: 'split_impossible',
        message: expect.stringContaining('9 heads'),
        hint: expect.stringContaining('pipeline'),
      },
    },
  ]);
});

describe('through a node that runs', () => {
  let daemon: Daemon;
  let client: ApiClient;
  const home = join(folder, 'home');
  beforeAll(async () => {
    mkdirSync(home);
    daemon = await Daemon.start(home);
    client = new ApiClient(daemon.url, null, fetch);
  }, 300_000);
  afterAll(() => daemon.stop());

  /** The plans of all instances that the node has had while `work` went on. */
  async function plansDuring(work: () => Promise<unknown>): Promise<string[]> {
    const stop = new AbortController();
    const seen = new Map<string, ClusterState['instances'][number]['plan']>();
    const watching = (async () => {
      for await (const { instances } of client.states(stop.signal)) {
        for (const { id, plan } of instances) seen.set(id, plan);
      }
    })().catch(() => {});
    await work();
    stop.abort();
    await watching;
    return [...seen.values()].map(({ kind, ranks, mode }) => `${kind} ${ranks} ${mode}`);
  }

  const run = async (...flags: string[]) => {
    const args = ['run', starterModel, ...prompt, ...flags];
    const result = await sandbox.run(args, { environment: { CIDERY_HOME: home } });
    expect(result.status, result.stderr).toBe(0);
    return result;
  };

  test('an instance is made for the call, and is gone after it', async () => {
    expect(await plansDuring(() => run('--ranks', '2'))).toEqual([
      'single 1 fast',
      'tensor 2 fast',
    ]);
    expect((await client.state(never)).instances.length).toBe(1);
  });

  test('one that matches the flags answers', async () => {
    const wanted = { model: starterModel, ranks: 2, split: 'pipeline', mode: 'precise' } as const;
    const { id } = await client.deploy(wanted, never);
    const flags = ['--ranks', '2', '--split', 'pipeline', '--precise'];
    expect(await plansDuring(() => run(...flags))).toEqual(['single 1 fast', 'pipeline 2 precise']);
    expect((await run(...flags)).stderr).toBe('');
    // Both are as wanted: it says which one it takes.
    expect((await run()).stderr).toMatch(/^of 2 that run smollm2:135m, deployment-\w+ answers/);
    const { stdout } = await sandbox.run(['ps'], { environment: { CIDERY_HOME: home } });
    expect(stdout).toMatch(/2 \(pipeline\)/);
    expect(stdout.match(/ {2}rank [01] +process \d+ +ready/g)?.length).toBe(2);
    await client.removeDeployment(id, never);
  });
});
