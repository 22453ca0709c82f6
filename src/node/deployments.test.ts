import { describe, expect, test } from 'vitest';
import { FakeClock, settled } from '../../test/support/fake-clock.ts';
import { quietParts } from '../../test/support/fake-instance.ts';
import {
  fakeLibrary,
  type FakeRank,
  FakeSpawner,
  manifestOf,
  obliging,
  openedMessage,
} from '../../test/support/fake-ranks.ts';
import { rejection } from '../../test/support/rejection.ts';
import { CideryError, errorCode } from '../base/error.ts';
import { limits } from '../base/limits.ts';
import type { ToRank } from '../engine/protocol.ts';
import { cacheBytesPerPosition, weightBytes } from '../model/memory.ts';
import { buildModel } from '../model/model.ts';
import { Deployments } from './deployments.ts';
import type { Instance } from './instance.ts';
import { KnownAnswers } from './self-check.ts';

const never = new AbortController().signal;
const { program } = buildModel(manifestOf('any'));
const weights = weightBytes(program, { executor: 'mlx', precise: true });
/** What a model needs to come in: its weights and the shortest context. */
const needed = weights + 128 * cacheBytesPerPosition(program, { executor: 'mlx', precise: true });

function world(memoryBytes = 100 * needed, nodeContext: number | null = null) {
  const clock = new FakeClock();
  const spawner = new FakeSpawner();
  const library = { ...fakeLibrary() };
  let ids = 0;
  // What the processes that live have taken.
  const taken = () => spawner.ranks.filter(({ gone }) => !gone).length * weights;
  const deployments = new Deployments({
    spawner,
    clock,
    library,
    defaults: {
      executor: 'mlx',
      precise: true,
      contextLength: nodeContext,
      cacheBytes: null,
      slots: 4,
      threads: 0,
      ranks: 1,
      split: 'auto',
    },
    ...quietParts,
    knownAnswers: new KnownAnswers(),
    freeMemoryBytes: () => memoryBytes - taken(),
    randomId: () => String(++ids),
  });
  const models = () => deployments.list().map(({ view }) => view.model);
  const ready = async (name: string): Promise<Instance> => {
    const instance = await deployments.instanceFor(name);
    await instance.ready(never);
    return instance;
  };
  return { clock, spawner, library, deployments, models, ready };
}

function hold(instance: Instance, id: string): void {
  instance.request(
    { type: 'logits', id, ids: [1], last: 1, out: '/out' },
    { onMessage: () => {}, onLost: () => {} },
  );
}

/** Ends while it opens, as often as it is tried. */
function dying(rank: FakeRank, message: ToRank): void {
  if (message.type === 'open') rank.end({ code: null, signal: 'SIGKILL' });
}

describe('a context that is longer than the model was made for', () => {
  const tooLong = {
    code: 'context_too_long',
    message: 'a has a context of at most 128 tokens, not 129',
    hint: 'ask for 128 or fewer, or leave the context out',
  };

  test('is refused where this model was asked for with it, and nothing is started', async () => {
    const { deployments, spawner, models } = world();
    const asked = { model: 'a', context: 129 };
    await expect(deployments.create(asked)).rejects.toMatchObject(tooLong);
    expect([spawner.ranks.length, models()]).toEqual([0, []]);
    expect(await deployments.create({ model: 'a', context: 128 })).toMatchObject({ context: 128 });
  });

  test('is no harm as the longest that the node gives to any model', async () => {
    const { deployments, ready } = world(undefined, 129);
    expect((await ready('a')).settings.contextLength).toBe(129);
    expect(await deployments.create({ model: 'b' })).toMatchObject({ context: 129 });
    // There is one with that setting already.
    const asked = { model: 'a', context: 129 };
    await expect(deployments.create(asked)).rejects.toMatchObject(tooLong);
  });
});

describe('the instance of a model', () => {
  test('is shared by requests of the same moment', async () => {
    const { deployments, spawner } = world();
    const instances = await Promise.all(
      ['a', 'b', 'a', 'a', 'b'].map((name) => deployments.instanceFor(name)),
    );
    expect(instances.map(({ model }) => model)).toEqual(['a', 'b', 'a', 'a', 'b']);
    expect(new Set(instances).size).toBe(2);
    expect(spawner.ranks.length).toBe(2);
  });

  test("is found without a look at the disk when its name is the model's own", async () => {
    const { deployments, library, ready } = world();
    const instance = await ready('a');
    library.resolve = () => Promise.reject(new CideryError('model_not_found', 'the disk is gone'));
    expect(await deployments.instanceFor('a')).toBe(instance);
    expect((await rejection(deployments.instanceFor('b'))).code).toBe('model_not_found');
  });

  test('is found by the id of its deployment as well', async () => {
    const { deployments } = world();
    const view = await deployments.create({ model: 'a' });
    const found = await deployments.instanceFor(view.id);
    expect(found).toBe(await deployments.instanceFor('a'));
  });

  test('a request waits for a deployment that is being made', async () => {
    const { deployments, spawner } = world();
    const [view, instance] = await Promise.all([
      deployments.create({ model: 'a', context: 64 }),
      deployments.instanceFor('a'),
    ]);
    expect(view).toMatchObject({ automatic: false, context: 64 });
    expect(instance.settings.contextLength).toBe(64);
    expect(spawner.ranks.length).toBe(1);
  });

  test('one that a request has brought becomes the deployment that is asked for', async () => {
    const { deployments, spawner, models } = world();
    const [instance, view] = await Promise.all([
      deployments.instanceFor('a'),
      deployments.create({ model: 'a' }),
    ]);
    expect(view.automatic).toBe(false);
    expect(await deployments.instanceFor(view.id)).toBe(instance);
    await deployments.create({ model: 'a', mode: 'fast' });
    expect([spawner.ranks.length, models()]).toEqual([2, ['a', 'a']]);
  });

  test('of several is one that is ready, and so is the state of the model', async () => {
    const { deployments, ready, spawner } = world();
    await deployments.create({ model: 'a' });
    const first = await ready('a');
    spawner.behave = () => {};
    await deployments.create({ model: 'a', mode: 'fast' });
    expect(await deployments.instanceFor('a')).toBe(first);
    expect([...deployments.states()]).toEqual([['a', 'ready']]);
    spawner.behave = obliging;
    await deployments.remove(deployments.list()[0]?.view.id ?? '');
    expect([...deployments.states()]).toEqual([['a', 'starting']]);
  });

  test('a model that is not there is an error each time', async () => {
    const { deployments, library } = world();
    let tries = 0;
    library.manifest = async () => {
      throw new CideryError('model_file_broken', `try ${++tries}`);
    };
    const both = await Promise.all([
      rejection(deployments.instanceFor('a')),
      rejection(deployments.instanceFor('a')),
    ]);
    expect(both.map(({ message }) => message)).toEqual(['try 1', 'try 1']);
    expect((await rejection(deployments.instanceFor('a'))).message).toBe('try 2');
    expect(deployments.list()).toEqual([]);
  });
});

describe('a deployment that failed', () => {
  async function failed(automatic: boolean) {
    const it = world();
    it.spawner.behave = dying;
    if (!automatic) await it.deployments.create({ model: 'a', context: 64, mode: 'fast' });
    const instance = await it.deployments.instanceFor('a');
    await it.clock.advance(limits.instanceStartsMax * limits.instanceRestartDelayMs);
    expect(instance.state.kind).toBe('failed');
    return { ...it, instance };
  }

  test.each([true, false])('is started anew by the next request (automatic: %s)', async (auto) => {
    const { deployments, spawner, instance, ready } = await failed(auto);
    const before = deployments.list().map(({ view }) => view);
    spawner.behave = obliging;
    const [fresh, same] = await Promise.all([ready('a'), ready('a')]);
    expect(fresh).toBe(same);
    expect(fresh).not.toBe(instance);
    // With its id, its settings, and as wanted as it was.
    expect(deployments.list().map(({ view }) => view)).toEqual(before);
    expect([fresh.settings.precise, fresh.settings.contextLength]).toEqual(
      auto ? [true, null] : [false, 64],
    );
    expect(spawner.ranks.length).toBe(limits.instanceStartsMax + 1);
  });

  test.each([
    [false, 'context_too_long'],
    [true, null],
  ])('of a model that is shorter now (automatic: %s): %s', async (automatic, code) => {
    const { deployments, spawner, library } = await failed(automatic);
    spawner.behave = obliging;
    const shorter = manifestOf('a');
    const config = { ...shorter.config, max_position_embeddings: 63 };
    library.manifest = () => Promise.resolve({ ...shorter, config });
    const found = await deployments.instanceFor('a').then(
      () => null,
      (error: unknown) => errorCode(error),
    );
    expect(found).toBe(code);
  });

  test('fails anew with the new reason', async () => {
    const { deployments, clock, spawner } = await failed(true);
    const again = rejection(deployments.instanceFor('a').then((instance) => instance.ready(never)));
    await clock.advance(10_000);
    expect((await again).code).toBe('rank_lost');
    expect([deployments.list().length, spawner.ranks.length]).toEqual([
      1,
      2 * limits.instanceStartsMax,
    ]);
  });

  test('can be removed', async () => {
    const { deployments } = await failed(false);
    for (const { view } of deployments.list()) await deployments.remove(view.id);
    expect(deployments.list()).toEqual([]);
  });
});

describe('memory', () => {
  test('models that nobody uses make room, unused longest first', async () => {
    const { ready, models, spawner } = world(2 * needed);
    await ready('a');
    await ready('b');
    await ready('a');
    await ready('c');
    expect(models()).toEqual(['a', 'c']);
    await ready('d');
    expect(models()).toEqual(['c', 'd']);
    expect(spawner.ranks.map(({ gone }) => gone)).toEqual([true, true, false, false]);
  });

  test('one that was asked for stays', async () => {
    const { deployments, models, ready } = world(needed);
    const { id } = await deployments.create({ model: 'a' });
    await ready('a');
    const error = await rejection(deployments.instanceFor('b'));
    expect(error.code).toBe('insufficient_memory');
    expect(models()).toEqual(['a']);
    await deployments.remove(id);
    await ready('b');
    expect(models()).toEqual(['b']);
  });

  test('one with a request stays', async () => {
    const { deployments, models, ready } = world(needed);
    const instance = await ready('a');
    hold(instance, 'r');
    expect((await rejection(deployments.instanceFor('b'))).code).toBe('insufficient_memory');
    instance.cancel('r');
    await ready('b');
    expect(models()).toEqual(['b']);
  });

  test('one that somebody waits for stays', async () => {
    const { deployments, spawner, clock } = world(needed);
    spawner.behave = () => {};
    const instance = await deployments.instanceFor('a');
    const waiting = rejection(instance.ready(never));
    expect((await rejection(deployments.instanceFor('b'))).code).toBe('insufficient_memory');
    expect(instance.state.kind).toBe('starting');
    const stopped = deployments.stop();
    await clock.advance(limits.rankLeaveMs + limits.rankTerminateMs);
    await stopped;
    expect((await waiting).code).toBe('instance_stopped');
  });

  test('two that come at the same moment do not both take the last of it', async () => {
    const { deployments, spawner } = world(1.5 * needed);
    spawner.behave = () => {};
    const come = (name: string) =>
      deployments.instanceFor(name).then((instance) => instance.ready(never));
    const [a, b] = [come('a'), rejection(come('b'))];
    expect((await b).code).toBe('insufficient_memory');
    spawner.behave = obliging;
    spawner.last.say(openedMessage);
    expect(await a).toEqual(openedMessage);
    expect(spawner.ranks.length).toBe(1);
  });

  test('what making room sets free counts for the new cache', async () => {
    const { ready } = world(needed);
    await ready('a');
    const { settings } = await ready('b');
    expect(settings.cacheBytes).toBe(Math.floor(needed / 4));
  });
});

describe('ranks', () => {
  test('are as many as asked for, and all of them count', async () => {
    const { deployments } = world();
    const view = await deployments.create({ model: 'a', ranks: 2 });
    expect(view).toMatchObject({ ranks: 2, split: 'auto' });
    const [entry] = deployments.list();
    expect(entry?.instance.plan).toMatchObject({ kind: 'tensor', ranks: 2 });
    expect(entry?.instance.plan.weightBytes).toBeGreaterThanOrEqual(weights);
  });

  test('that do not fit together are refused', async () => {
    const { deployments } = world(needed);
    const refused = rejection(deployments.create({ model: 'a', ranks: 2 }));
    expect((await refused).code).toBe('insufficient_memory');
  });

  test('of an automatic deployment that are others make one of their own', async () => {
    const { deployments, ready } = world();
    await ready('a');
    await deployments.create({ model: 'a', ranks: 2 });
    await deployments.create({ model: 'a', ranks: 1, split: 'pipeline' });
    const all = deployments
      .list()
      .map(({ view, instance }) => [view.automatic, instance.plan.kind]);
    expect(all).toEqual([
      [false, 'single'],
      [false, 'tensor'],
    ]);
  });

  test('that do not start become fewer, as far as memory goes', async () => {
    const { deployments, spawner, clock } = world();
    spawner.behave = (rank, message) => {
      if (message.type === 'open' && message.group !== null) rank.end({ code: 1, signal: null });
      else obliging(rank, message);
    };
    await deployments.create({ model: 'a', ranks: 3 });
    const instance = await deployments.instanceFor('a');
    await clock.advance(2 * limits.groupStartsMax * limits.instanceRestartDelayMs);
    await instance.ready(never);
    expect(instance.plan).toMatchObject({ kind: 'single', ranks: 1 });
  });
});

test('closing ends what runs and lets nothing start', async () => {
  const { deployments, spawner, clock, library, ready } = world();
  await ready('a');
  library.manifest = async ({ id }) => {
    await clock.sleep(1_000);
    return manifestOf(id);
  };
  const arriving = rejection(deployments.instanceFor('b'));
  await settled();
  await deployments.stop();
  await clock.advance(1_000);
  expect((await arriving).code).toBe('node_closing');
  expect([deployments.list().length, clock.timers]).toEqual([0, 0]);
  expect(spawner.ranks.map(({ gone }) => gone)).toEqual([true]);
});

test('what this version cannot do is refused', async () => {
  const { deployments } = world();
  const codes = async (wanted: object) =>
    (await rejection(deployments.create({ model: 'a', ...wanted }))).code;
  expect(await codes({ ranks: 60 })).toBe('split_impossible');
  expect(await codes({ replicas: 2 })).toBe('unsupported');
  expect((await rejection(deployments.remove('deployment-0'))).code).toBe('deployment_not_found');
});
