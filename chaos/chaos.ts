import { CideryError } from '../src/base/error.ts';
import { quantile } from '../bench/statistics.ts';
import { seededNumbers } from '../test/support/seeded-numbers.ts';
import type { ChaosOptions, FaultKind } from './arguments.ts';
import { type Fault, stillAlive, strike } from './faults.ts';
import { Load } from './load.ts';
import { cutImpossible } from './network-cut.ts';
import { NodeUnderTest } from './node-under-test.ts';
import { recoveryTimes } from './recovery.ts';

export interface ChaosReport {
  readonly options: ChaosOptions;
  readonly faults: number;
  readonly byKind: Partial<Record<FaultKind, number>>;
  readonly answers: number;
  /** Answers that ended with an error or differ from the undisturbed ones, with what was wrong. */
  readonly wrong: readonly string[];
  /** From a fault to the next token of each answer under way. */
  readonly recoveryMs: {
    readonly count: number;
    readonly p50: number;
    readonly p95: number;
  } | null;
  /** Ranks of the smallest attempt: fewer than asked for where so many did not start. */
  readonly fewestRanks: number;
  /** Processes that the instance has left behind. */
  readonly leftBehind: readonly number[];
}

/** Where a run finds what it tests. */
export interface ChaosPlace {
  /** The launcher, bin/cidery. */
  readonly cidery: string;
  /** A home that holds the model and nothing that runs. */
  readonly home: string;
  readonly say: (line: string) => void;
}

/**
 * Loads an instance with streaming clients, hurts its ranks one after the other at moments that the
 * seed decides, and compares every answer with the undisturbed one.
 * @throws CideryError `chaos_node` when the node or its instance does not come (back) up,
 *   `chaos_network` for `cut` where packets cannot be dropped.
 */
export async function runChaos(options: ChaosOptions, place: ChaosPlace): Promise<ChaosReport> {
  const impossible = options.faults.includes('cut') ? cutImpossible() : null;
  if (impossible !== null) {
    throw new CideryError('chaos_network', `no packets can be dropped: ${impossible}`, {
      hint: 'leave `cut` out: --faults kill,stop',
    });
  }
  const node = await NodeUnderTest.start(place.cidery, place.home, options);
  const seen = new Set<number>();
  let fewestRanks = options.ranks;
  const faults: Fault[] = [];
  let load: Load | null = null;
  try {
    for (const pid of await node.ready(new Set())) seen.add(pid);
    place.say(`${seen.size} ranks; undisturbed answers first`);
    const expected = await Load.undisturbed(node.url, node.deployment);
    load = new Load(node.url, node.deployment, expected);
    load.start(options.clients, options.seed);
    const dice = seededNumbers(options.seed);
    for (let number = 1; number <= options.kills; number++) {
      const fault = await strike(node, options, dice);
      faults.push(fault);
      for (const pid of fault.freshPids) seen.add(pid);
      fewestRanks = Math.min(fewestRanks, fault.freshPids.length);
      const wrong = load.records.filter((record) => record.wrong !== null).length;
      const backMs = Math.round(fault.readyAtMs - fault.atMs);
      const count = `${load.records.length} answers, ${wrong} wrong`;
      place.say(`${number}: ${fault.kind} rank ${fault.rank}, ready after ${backMs} ms; ${count}`);
    }
    await load.end();
  } finally {
    load?.stop();
    await node.stop();
  }
  return { ...report(options, faults, load), fewestRanks, leftBehind: stillAlive(seen) };
}

function report(
  options: ChaosOptions,
  faults: readonly Fault[],
  { records }: Load,
): Omit<ChaosReport, 'fewestRanks' | 'leftBehind'> {
  const byKind: Partial<Record<FaultKind, number>> = {};
  for (const { kind } of faults) byKind[kind] = (byKind[kind] ?? 0) + 1;
  const times = recoveryTimes(faults, records);
  const at = (share: number) => Math.round(quantile(times, share));
  return {
    options,
    faults: faults.length,
    byKind,
    answers: records.length,
    wrong: records.flatMap(({ question, wrong }) =>
      wrong === null ? [] : [`question ${question}: ${wrong}`],
    ),
    recoveryMs: times.length === 0 ? null : { count: times.length, p50: at(0.5), p95: at(0.95) },
  };
}
