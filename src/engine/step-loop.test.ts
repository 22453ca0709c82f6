import { expect, test } from 'vitest';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { type NewSequence, Scheduler } from './scheduler.ts';
import { Slots } from './slots.ts';
import { StepLoop } from './step-loop.ts';
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

/** An engine whose steps take `stepMs` of the clock, one after the other. */
class SlowSteps {
  /** Slots of each step, in the order in which they were asked for. */
  readonly steps: { readonly atMs: number; readonly slots: number[] }[] = [];
  readonly #clock: FakeClock;
  #freeAtMs = 0;

  constructor(clock: FakeClock) {
    this.#clock = clock;
  }

  async step(plan: Uint8Array): Promise<Uint8Array> {
    const { slots, result } = answer(plan);
    const nowMs = this.#clock.monotonic();
    this.steps.push({ atMs: nowMs, slots });
    this.#freeAtMs = Math.max(this.#freeAtMs, nowMs) + stepMs;
    await this.#clock.sleep(this.#freeAtMs - nowMs);
    return result;
  }
}

function sequence(key: string, maxTokens: number): NewSequence {
  const work = { kind: 'generate', sampler: greedySampler } as const;
  return { key, tokens: [0], maxTokens, stopIds: new Set(), work };
}

function loopOver(clock: FakeClock, steps: SlowSteps): StepLoop {
  const scheduler = new Scheduler(new Slots(4, 1_024, 16), {
    promptTokensPerStep: 8,
    promptShareMin: 2,
    waitingMax: 10,
    contextLength: 256,
    sharedPrefixMin: 4,
    batches: 1,
  });
  return new StepLoop(
    (plan) => steps.step(plan),
    scheduler,
    1,
    clock,
    (error) => {
      throw error;
    },
  );
}

test('who comes early in a long step joins the next one', async () => {
  const clock = new FakeClock();
  const steps = new SlowSteps(clock);
  const loop = loopOver(clock, steps);
  loop.add(sequence('a', 50), () => {});
  await clock.advance(10 * stepMs + 20);
  const begun = steps.steps.length;
  loop.add(sequence('b', 1), () => {});
  await clock.advance(stepMs);
  // The step that runs is `begun`, the one behind it has both.
  expect(steps.steps[begun]?.slots).toHaveLength(2);
  expect(steps.steps[begun]?.atMs).toBeLessThan(11 * stepMs);
});

test('steps follow each other without a gap', async () => {
  const clock = new FakeClock();
  const steps = new SlowSteps(clock);
  const loop = loopOver(clock, steps);
  const ended: number[] = [];
  loop.add(sequence('a', 20), (event) => {
    if (event.kind === 'token') ended.push(clock.monotonic());
  });
  await clock.advance(30 * stepMs);
  expect(ended).toEqual(Array.from({ length: 20 }, (_, index) => (index + 1) * stepMs));
  expect(clock.timers).toBe(0);
});
