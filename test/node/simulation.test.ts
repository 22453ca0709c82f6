import { randomInt } from 'node:crypto';
import { expect, test } from 'vitest';
import { CideryError } from '../../src/base/error.ts';
import { limits } from '../../src/base/limits.ts';
import { CideryNode } from '../../src/node/node.ts';
import { planRanks } from '../../src/node/rank-plan.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { fakeLibrary, FakeSpawner, manifestOf } from '../support/fake-ranks.ts';
import { seededNumbers } from '../support/seeded-numbers.ts';
import { greedyOptions } from '../support/requests.ts';
import { type Dice, SimulatedRank } from './simulated-rank.ts';

/**
 * The node over simulated ranks in virtual time: clients come, read slowly or not at all, leave;
 * ranks die in every way. The seed of a failure is in its name.
 */

const models = ['a', 'b', 'c', 'd'];
const clientCount = 80;
const mode = { executor: 'mlx', precise: true } as const;

/** How a request ended: `whole`, `left`, or the code of its error. */
type End = string;

class World {
  readonly clock = new FakeClock();
  readonly spawner = new FakeSpawner();
  readonly ranks: SimulatedRank[] = [];
  readonly ends: End[] = [];
  readonly node: CideryNode;
  readonly dice: Dice;

  constructor(seed: number, faulty: boolean) {
    this.dice = seededNumbers(seed);
    const { clock, spawner, dice } = this;
    const [ranks, split] = [1 + (seed % 3), 'tensor'] as const;
    const plan = planRanks(manifestOf('any'), { ranks, split }, mode);
    const modelBytes = plan.weightBytes + 128 * plan.cacheBytesPerPosition;
    spawner.onStart = (rank) => this.#join(new SimulatedRank(rank, clock, dice, faulty));
    spawner.behave = (rank, message) =>
      this.ranks.find((simulated) => simulated.rank === rank)?.receive(message);
    const living = () => spawner.ranks.filter(({ gone }) => !gone).length;
    let ids = 0;
    this.node = new CideryNode({
      library: fakeLibrary(),
      spawner,
      clock,
      machine: {
        nodeId: 'n',
        name: 'n',
        platform: 'p',
        cores: 1,
        totalMemoryBytes: 0,
        // Room for three of the four models.
        freeMemoryBytes: () => 3 * modelBytes - living() * (plan.weightBytes / ranks),
      },
      defaults: {
        ...mode,
        contextLength: null,
        cacheBytes: null,
        slots: 4,
        threads: 0,
        ranks,
        split,
      },
      version: '0',
      randomId: () => String(++ids),
      randomSeed: () => '0',
      randomBytes: (count) => new Uint8Array(count).fill(this.ranks.length),
      silenceMs: limits.rankStoppedMs,
      groupBackend: 'tcp',
    });
  }

  /** Ranks of a group hear of each other's end. */
  #join(simulated: SimulatedRank): void {
    this.ranks.push(simulated);
    simulated.onEnd = (code) => {
      const others = this.ranks.filter(({ key }) => key !== '' && key === simulated.key);
      for (const other of others) if (other !== simulated && !other.rank.gone) other.endWith(code);
    };
  }

  /** One client from its coming to its end. */
  async client(): Promise<void> {
    const { dice, clock, node } = this;
    await clock.sleep(1 + dice(60_000));
    const stop = new AbortController();
    const stopTimer =
      dice(3) === 0 ? clock.after(dice(20_000), () => stop.abort(left())) : () => {};
    const tokens = dice(20) === 0 ? 10_000 : dice(40);
    const leaveAfter = dice(5) === 0 ? dice(20) : Number.POSITIVE_INFINITY;
    const model = models[dice(models.length)] ?? '';
    try {
      const generation = await node.generate(
        {
          model,
          input: { kind: 'ids', ids: [1] },
          options: { ...greedyOptions, maxTokens: tokens },
        },
        stop.signal,
      );
      this.ends.push(await this.#read(generation.events, tokens, leaveAfter));
    } catch (error) {
      this.ends.push(error instanceof CideryError ? error.code : String(error));
    } finally {
      stopTimer();
    }
  }

  /** Reads an answer whose tokens count up from 0, so that a lost or a repeated one shows. */
  async #read(
    events: AsyncIterable<{ readonly type: string; readonly ids?: readonly number[] }>,
    tokens: number,
    leaveAfter: number,
  ): Promise<End> {
    const pauseMs = this.dice(4) === 0 ? this.dice(2_000) : 0;
    let next = 0;
    let isDone = false;
    for await (const { type, ids = [] } of events) {
      if (isDone) return 'an event after done';
      isDone = type === 'done';
      for (const id of ids) if (id !== next++) return `token ${id} in place of ${next - 1}`;
      if (next > leaveAfter) return 'left';
      // At first only: a long answer has overtaken such a reader by then.
      if (pauseMs > 0 && next < 20) await this.clock.sleep(pauseMs);
    }
    return isDone && next === tokens ? 'whole' : `ended after ${next} of ${tokens}`;
  }
}

function left(): CideryError {
  return new CideryError('left', 'the client has left');
}

/** What may become of a request when nothing goes wrong with a rank. */
const harmless = ['whole', 'left', 'insufficient_memory', 'consumer_too_slow'];
/** What a rank that went wrong may add. */
const harmful = [
  'rank_lost',
  'rank_stuck',
  'rank_stopped',
  'rank_protocol',
  'out_of_memory',
  'instance_not_ready',
];

async function simulate(seed: number, faulty: boolean): Promise<World> {
  const world = new World(seed, faulty);
  const { clock, node, spawner, ranks } = world;
  const clients = Promise.all(Array.from({ length: clientCount }, () => world.client()));
  // A stuck step is noticed after five minutes.
  for (let minute = 0; minute < 20 && world.ends.length < clientCount; minute++) {
    await clock.advance(60_000);
  }
  expect(world.ends.length).toBe(clientCount);
  await clients;
  const known = new Set(faulty ? [...harmless, ...harmful] : harmless);
  expect(world.ends.filter((end) => !known.has(end))).toEqual([]);
  expect(node.deployments.list().map(({ instance }) => instance.requests)).toEqual(
    node.deployments.list().map(() => 0),
  );
  expect(node.deployments.list().every(({ instance }) => instance.idle)).toBe(true);
  const busy = ranks.filter(({ rank, active }) => !rank.gone && active.size > 0);
  expect(busy.map(({ active }) => [...active.keys()])).toEqual([]);
  const closed = node.close();
  await clock.advance(limits.rankLeaveMs + limits.rankTerminateMs);
  await closed;
  expect(spawner.ranks.filter(({ gone }) => !gone).length).toBe(0);
  expect(clock.timers).toBe(0);
  return world;
}

const fixedSeeds = Array.from({ length: 8 }, (_, index) => index + 1);
const freshSeeds = Array.from({ length: 2 }, () => randomInt(2 ** 31));

test.each([...fixedSeeds, ...freshSeeds])('every request ends once, seed %i', async (seed) => {
  await simulate(seed, true);
});

test.each([...fixedSeeds, ...freshSeeds])(
  'without faults each one ends well, seed %i',
  async (seed) => {
    const { ends } = await simulate(seed, false);
    expect(ends.filter((end) => end === 'whole').length).toBeGreaterThan(clientCount / 4);
  },
);

test('a seed gives the same history twice', async () => {
  const [first, second] = [await simulate(7, true), await simulate(7, true)];
  expect(first.ends).toEqual(second.ends);
  // What the simulation is about has happened.
  expect(new Set(first.ends).size).toBeGreaterThan(3);
  expect(first.spawner.ranks.length).toBeGreaterThan(models.length);
});
