import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { ApiClient } from '../../src/api/client.ts';
import { limits } from '../../src/base/limits.ts';
import {
  clusterStateSchema,
  type ClusterState,
  type ModelPlans,
  modelPlansSchema,
  type NewPlan,
} from '../../src/node/cluster-state.ts';
import { ScriptedRanks } from '../support/scripted-rank.ts';
import { echoModel, type ServedNode, serveNode } from '../support/served-node.ts';

let served: ServedNode;
let client: ApiClient;
const never = new AbortController().signal;

beforeAll(async () => {
  served = await serveNode({ ranks: new ScriptedRanks({ tokenMs: 5 }) });
  client = new ApiClient(served.url, null, fetch);
});
afterAll(() => served.close());

function post(path: string, body: object): Promise<Response> {
  const request = { method: 'POST', body: JSON.stringify(body) };
  return fetch(`${served.url}/cluster/v1/${path}`, request);
}

/** What neither a deployment nor a plan can be made of. */
const refusedBodies: [string, object, number, string][] = [
  ['an unknown model', { model: 'no/such' }, 404, 'model_not_found'],
  ['more ranks than it has parts', { model: echoModel, ranks: 60 }, 400, 'split_impossible'],
  [
    'too many for its layers',
    { model: echoModel, ranks: 2, split: 'pipeline' },
    400,
    'split_impossible',
  ],
  ['a longer context than its own', { model: echoModel, context: 129 }, 400, 'context_too_long'],
  ['a split of nobody knows how many', { model: echoModel, split: 'tensor' }, 400, 'split_invalid'],
  ['a field of another version', { model: echoModel, color: 'red' }, 400, 'invalid_value'],
  ['no model', {}, 400, 'missing_required_parameter'],
];

describe('deployments', () => {
  test('are made, shown with their instance, answer by their id, and end', async () => {
    const made = await client.deploy({ model: echoModel, mode: 'precise' }, never);
    expect(made).toEqual({
      id: expect.stringMatching(/^deployment-/),
      model: echoModel,
      context: null,
      replicas: 1,
      split: 'auto',
      ranks: 1,
      mode: 'precise',
      automatic: false,
    });
    const pieces: string[] = [];
    const fields = { model: made.id, messages: [{ role: 'user', content: 'a b' }] };
    let usage: unknown = null;
    for await (const chunk of client.complete(fields, never)) {
      pieces.push(chunk.text);
      usage = chunk.usage ?? usage;
    }
    expect(pieces.join('')).toBe('a b ');
    expect(usage).toEqual({ promptTokens: 2, generatedTokens: 2 });
    const state = await client.state(never);
    expect(state.instances).toMatchObject([
      {
        deployment: made.id,
        model: echoModel,
        state: 'ready',
        error: null,
        contextLength: 64,
        plan: { kind: 'single', ranks: 1, executor: 'mlx', mode: 'precise' },
        ranks: [{ rank: 0, node: 'node-test', pid: 1000, state: 'ready', memoryBytes: 30 }],
      },
    ]);
    await client.removeDeployment(made.id, never);
    expect((await client.state(never)).deployments).toEqual([]);
  });

  test.each(refusedBodies)('%s is refused', async (_name, body, status, code) => {
    const response = await post('deployments', body);
    expect([response.status, await response.json()]).toMatchObject([status, { error: { code } }]);
  });

  test('one that is not there cannot be ended', async () => {
    await expect(client.removeDeployment('deployment-x', never)).rejects.toMatchObject({
      code: 'deployment_not_found',
    });
  });
});

describe('plans', () => {
  async function plans(wanted: NewPlan): Promise<ModelPlans> {
    const response = await post('plans', wanted);
    expect(response.status).toBe(200);
    return modelPlansSchema.parse(await response.json());
  }

  test('say what a deployment would take, and deploy nothing', async () => {
    const whole = await plans({ model: echoModel });
    expect(whole).toEqual({
      model: echoModel,
      context: 128,
      mode: 'fast',
      plans: [
        {
          kind: 'single',
          ranks: 1,
          chosen: true,
          reason: 'the only machine',
          memory: expect.objectContaining({ freeBytes: 4e9 }),
          predicted: null,
        },
      ],
    });
    const { weightBytes, cacheBytes, workingBytes, neededBytes } = memoryOf(whole);
    expect(neededBytes).toBe(weightBytes + cacheBytes + workingBytes);
    expect((await client.state(never)).deployments).toEqual([]);
  });

  test('are of the context, the mode and the ranks that are asked for', async () => {
    const whole = await plans({ model: echoModel });
    const shorter = await plans({ model: echoModel, context: 32 });
    expect([shorter.context, shorter.mode]).toEqual([32, 'fast']);
    const precise = await plans({ model: echoModel, mode: 'precise' });
    expect([precise.context, precise.mode]).toEqual([128, 'precise']);
    expect(memoryOf(precise).weightBytes).toBeGreaterThan(memoryOf(whole).weightBytes);
    const split = await plans({ model: echoModel, ranks: 2, split: 'tensor' });
    expect(split.plans).toMatchObject([{ kind: 'tensor', ranks: 2 }]);
    // What every rank has is counted for each.
    expect(memoryOf(split).weightBytes).toBeGreaterThan(memoryOf(whole).weightBytes);
  });

  test.each(refusedBodies)('%s is refused', async (_name, body, status, code) => {
    const response = await post('plans', body);
    expect([response.status, await response.json()]).toMatchObject([status, { error: { code } }]);
  });

  function memoryOf({ plans: [only] }: ModelPlans): ModelPlans['plans'][number]['memory'] {
    if (only === undefined) throw new Error('there is no plan');
    return only.memory;
  }
});

describe('state events', () => {
  test('tell every stage of a deployment', async () => {
    const stages: string[] = [];
    let made: string | null = null;
    for await (const state of client.states(never)) {
      made ??= (await client.deploy({ model: echoModel }, never)).id;
      const stage = state.instances[0]?.state ?? 'none';
      if (stages.at(-1) !== stage) stages.push(stage);
      if (stage === 'ready') await client.removeDeployment(made, never);
      if (stages.length > 1 && stage === 'none') break;
    }
    expect(stages.filter((stage) => stage !== 'starting')).toEqual(['none', 'ready', 'none']);
  });

  test('watchers that leave, or only ask for the head, make room for others', async () => {
    for (let round = 0; round < limits.stateWatchersMax + 8; round++) {
      const leave = new AbortController();
      const path = `${served.url}/cluster/v1/events`;
      const method = round % 2 === 0 ? 'GET' : 'HEAD';
      const response = await fetch(path, { method, signal: leave.signal });
      expect(response.status).toBe(200);
      if (method === 'GET') await response.body?.getReader().read();
      leave.abort();
    }
    const first = await client.states(never).next();
    expect(clusterStateSchema.parse(first.value)).toEqual(first.value);
  });

  test('more watchers than the limit get 429', async () => {
    const leave = new AbortController();
    const watching: AsyncGenerator<ClusterState>[] = [];
    const codes = new Set<unknown>();
    for (let count = 0; count < limits.stateWatchersMax + 4; count++) {
      const states = client.states(leave.signal);
      watching.push(states);
      await states.next().catch((error: { code: unknown }) => codes.add(error.code));
    }
    expect([...codes]).toEqual(['too_many_requests']);
    leave.abort();
  });
});

describe('descriptions', () => {
  test('the OpenAPI document names what is served, and its schemas are sound', async () => {
    const response = await fetch(`${served.url}/cluster/v1/openapi.json`);
    const document = z
      .object({
        openapi: z.literal('3.1.0'),
        info: z.object({ title: z.string(), version: z.literal('1.2.3') }),
        paths: z.record(z.string().startsWith('/'), z.record(z.string(), z.unknown())),
      })
      .parse(await response.json());
    expect(Object.keys(document.paths)).toEqual([
      '/state',
      '/events',
      '/logs',
      '/deployments',
      '/deployments/{id}',
      '/plans',
    ]);
    const operations = Object.values(document.paths).flatMap((path) => Object.values(path));
    const operation = z.object({
      summary: z.string(),
      responses: z.record(z.string(), z.object({ description: z.string() })),
    });
    for (const one of operations) expect(operation.parse(one)).toBeDefined();
    expect(JSON.stringify(document)).not.toContain('"$ref":"#/definitions');
  });

  test('health names the models that are loaded', async () => {
    const made = await client.deploy({ model: echoModel }, never);
    await expect
      .poll(async () => (await fetch(`${served.url}/health`)).json())
      .toEqual({ status: 'ok', models: [{ id: echoModel, state: 'ready' }] });
    await client.removeDeployment(made.id, never);
  });

  test('metrics are Prometheus text: declared names, counts that add up', async () => {
    const made = await client.deploy({ model: echoModel }, never);
    const response = await fetch(`${served.url}/metrics`);
    expect(response.headers.get('content-type')).toContain('version=0.0.4');
    const lines = (await response.text()).split('\n').filter((line) => line !== '');
    const types = new Map(
      lines.flatMap((line) => {
        const match = /^# TYPE (\S+) (counter|gauge|histogram)$/.exec(line);
        return match?.[1] === undefined ? [] : [[match[1], match[2]] as const];
      }),
    );
    const samples = lines.filter((line) => !line.startsWith('#'));
    for (const sample of samples) {
      const [, name = ''] =
        /^([a-z_:]+)\{(?:[a-z_]+="(?:[^"\\]|\\.)*",?)*\} -?\d+(?:\.\d+)?(?:e[+-]\d+)?$/.exec(
          sample,
        ) ?? [];
      expect(types.has(name) || types.has(name.replace(/_(bucket|sum|count)$/, ''))).toBe(true);
    }
    expect(samples.some((line) => line.startsWith('cidery_instance_memory_bytes{'))).toBe(true);
    await client.removeDeployment(made.id, never);
  });

  test('the log holds requests without queries and without prompts', async () => {
    await fetch(`${served.url}/health?secret=query`);
    const fields = { model: echoModel, messages: [{ role: 'user', content: 'secret words' }] };
    for await (const chunk of client.complete(fields, never)) expect(chunk).toBeDefined();
    const lines = await client.logs(never);
    expect(lines.some(({ text }) => text.startsWith('GET /health 200 '))).toBe(true);
    expect(lines.filter(({ text }) => text.includes('secret'))).toEqual([]);
  });
});

describe('the client', () => {
  test('says so when nobody answers, or somebody else does', async () => {
    const nobody = new ApiClient('http://127.0.0.1:9', null, fetch);
    await expect(nobody.state(never)).rejects.toMatchObject({ code: 'node_unreachable' });
    const stranger = new ApiClient(served.url, null, () =>
      Promise.resolve(new Response('<html>hello</html>')),
    );
    await expect(stranger.state(never)).rejects.toMatchObject({ code: 'node_answer_invalid' });
    const broken = new ApiClient(served.url, null, () =>
      Promise.resolve(new Response('oops', { status: 502 })),
    );
    await expect(broken.health(never)).rejects.toMatchObject({ code: 'node_answer_invalid' });
  });

  test('an answer that is cut short is an error', async () => {
    const body = 'data: {"choices":[{"delta":{"content":"a"},"finish_reason":null}]}\n\n';
    const cut = new ApiClient(served.url, null, () => Promise.resolve(new Response(body)));
    const read = async (): Promise<string> => {
      let text = '';
      for await (const chunk of cut.complete({ model: 'm', messages: [] }, never)) {
        text += chunk.text;
      }
      return text;
    };
    await expect(read()).rejects.toMatchObject({ code: 'node_answer_invalid' });
  });
});
