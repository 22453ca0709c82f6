import { expect, test } from 'vitest';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { type NewSequence, Scheduler, type SequenceEvent } from './scheduler.ts';
import { Slots } from './slots.ts';
import { type StepEngine, StepLoop } from './step-loop.ts';
import { greedySampler } from './step-plan.ts';

const stepMs = 100;
const vocabulary = 1;

/** Slots of a plan's sequences, and the bytes of a result that draws token 0 for each. */
function answer(plan: Uint8Array): { slots: number[]; result: Uint8Array } {
  const words = new Uint32Array(plan.slice().buffer);
  let at = 2;
  const next = () => words[at++] ?? Number.NaN;
  const number = next();
  const skip = (count: number) => void (at += count);
  skip(next());
  skip(3 * next());
  const sequences = Array.from({ length: next() }, () => {
    const slot = next();
    skip(1);
    const tokens = next();
    if (next() === 0) skip(tokens);
    const sampled = next() === 1;
    skip(1);
    // A greedy sampler without biases and without a mask.
    if (sampled) skip(14);
    return { slot, sampled };
  });
  const parts = sequences.flatMap(({ slot, sampled }) => [slot, sampled ? 3 : 2, 0, 0, 0, 0]);
  const result = Uint32Array.of(0x52444943, 1, number, vocabulary, sequences.length, ...parts);
  return { slots: sequences.map(({ slot }) => slot), result: new Uint8Array(result.buffer) };
}

interface Asked {
  readonly beginsAtMs: number;
  readonly slots: number[];
  readonly drop: AbortController;
}

/**
 * An engine whose steps take `stepMs` of the clock, one after the other; one that had nothing to do
 * needs `wakeMs` to begin.
 */
class SlowSteps implements StepEngine {
  /** In the order in which they were asked for; without those that were taken back. */
  readonly steps: Asked[] = [];
  takenBack = 0;
  readonly #clock: FakeClock;
  readonly #wakeMs: number;

  constructor(clock: FakeClock, wakeMs = 0) {
    this.#clock = clock;
    this.#wakeMs = wakeMs;
  }

  async step(plan: Uint8Array): Promise<Uint8Array> {
    const { slots, result } = answer(plan);
    const nowMs = this.#clock.monotonic();
    const freeAtMs = (this.steps.at(-1)?.beginsAtMs ?? -stepMs) + stepMs;
    const beginsAtMs = Math.max(freeAtMs, nowMs + this.#wakeMs);
    const drop = new AbortController();
    this.steps.push({ beginsAtMs, slots, drop });
    await this.#clock.sleep(beginsAtMs + stepMs - nowMs, drop.signal);
    return result;
  }

  takeBack(): boolean {
    const last = this.steps.at(-1);
    if (last === undefined || last.beginsAtMs <= this.#clock.monotonic()) return false;
    this.steps.pop();
    this.takenBack += 1;
    last.drop.abort(new Error('taken back'));
    return true;
  }
}

function sequence(key: string, maxTokens: number): NewSequence {
  const work = { kind: 'generate', sampler: greedySampler } as const;
  return { key, tokens: [0], maxTokens, stopIds: new Set(), work };
}

function schedulerFor(stages: number): Scheduler {
  return new Scheduler(new Slots(4, 1_024, 16), {
    promptTokensPerStep: 8,
    promptShareMin: 2,
    waitingMax: 10,
    contextLength: 256,
    sharedPrefixMin: 4,
    batches: stages,
  });
}

function loopOver(steps: SlowSteps, stages = 1): StepLoop {
  return new StepLoop(steps, schedulerFor(stages), stages, (error) => {
    throw error;
  });
}

/** Since when tokens came, by sequence. */
function arrivals(clock: FakeClock) {
  const times = new Map<string, number[]>();
  const listener = (event: SequenceEvent) => {
    if (event.kind !== 'token') return;
    times.set(event.key, [...(times.get(event.key) ?? []), clock.monotonic()]);
  };
  return { times, listener };
}

test.each([20, 50, 99])('who comes %i ms into a step joins the next one', async (intoStepMs) => {
  const clock = new FakeClock();
  const steps = new SlowSteps(clock);
  const loop = loopOver(steps);
  const { times, listener } = arrivals(clock);
  loop.add(sequence('a', 50), listener);
  await clock.advance(10 * stepMs + intoStepMs);
  loop.add(sequence('b', 2), listener);
  loop.add(sequence('c', 1), listener);
  await clock.advance(3 * stepMs);
  expect(times.get('b')).toEqual([12 * stepMs, 13 * stepMs]);
  expect(times.get('c')).toEqual([12 * stepMs]);
  // The others lost nothing, and one new plan did for both.
  expect(times.get('a')).toEqual(Array.from({ length: 13 }, (_, index) => (index + 1) * stepMs));
  expect(steps.takenBack).toBe(1);
});

test('the step that is waited for is not taken back, although it has not begun', async () => {
  const clock = new FakeClock();
  const steps = new SlowSteps(clock, 5);
  const loop = loopOver(steps);
  const { times, listener } = arrivals(clock);
  loop.add(sequence('a', 1), listener);
  await clock.advance(1);
  loop.add(sequence('b', 1), listener);
  await clock.advance(3 * stepMs);
  expect(steps.takenBack).toBe(0);
  expect([times.get('a'), times.get('b')]).toEqual([[stepMs + 5], [2 * stepMs + 5]]);
});

test('a failure is told once, and nothing is begun after it', async () => {
  const failures: unknown[] = [];
  const engine: StepEngine = {
    step: () => Promise.reject(new Error('the device is gone')),
    takeBack: () => false,
  };
  const loop = new StepLoop(engine, schedulerFor(1), 1, (error) => void failures.push(error));
  loop.add(sequence('a', 2), () => {});
  await new Promise(setImmediate);
  loop.add(sequence('b', 2), () => {});
  await new Promise(setImmediate);
  expect(failures).toMatchObject([{ code: 'engine_failed', message: 'the device is gone' }]);
});

test('what was taken back counts once', async () => {
  const clock = new FakeClock();
  const loop = loopOver(new SlowSteps(clock));
  const prompt = (key: string, length: number) => ({
    ...sequence(key, 1),
    tokens: Array.from({ length }, (_, index) => index + key.charCodeAt(0)),
  });
  loop.add(sequence('a', 9), () => {});
  await clock.advance(2 * stepMs + 10);
  for (const key of ['p', 't', 'x']) {
    loop.add(prompt(key, 2), () => {});
    await clock.advance(10);
  }
  await clock.advance(20 * stepMs);
  expect(loop.counts).toEqual({ promptTokens: 6, generatedTokens: 12 });
});

test("a pipeline's steps are not taken back", async () => {
  const clock = new FakeClock();
  const steps = new SlowSteps(clock);
  const loop = loopOver(steps, 2);
  loop.add(sequence('a', 20), () => {});
  await clock.advance(5 * stepMs + 10);
  loop.add(sequence('b', 1), () => {});
  await clock.advance(40 * stepMs);
  expect(steps.takenBack).toBe(0);
  expect(loop.running).toBe(0);
});

test('steps follow each other without a gap', async () => {
  const clock = new FakeClock();
  const steps = new SlowSteps(clock);
  const loop = loopOver(steps);
  const ended: number[] = [];
  loop.add(sequence('a', 20), (event) => {
    if (event.kind === 'token') ended.push(clock.monotonic());
  });
  await clock.advance(30 * stepMs);
  expect(ended).toEqual(Array.from({ length: 20 }, (_, index) => (index + 1) * stepMs));
  expect(clock.timers).toBe(0);
});
