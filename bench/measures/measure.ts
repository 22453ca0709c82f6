import { errorMessage } from '../../src/base/error.ts';
import type { PeerName } from '../arguments.ts';
import type { Roof } from '../machine/roof.ts';
import type { Cidery, ModelFacts } from '../peers/cidery.ts';
import type { Engine, Needs, Subject } from '../peers/subject.ts';
import { ownName, type Recorder } from '../recorder.ts';
import type { Prompts } from '../texts.ts';

/** What every measure gets. */
export interface Bench {
  readonly cidery: Cidery;
  /** cidery first, then the peers that could be had. */
  readonly subjects: readonly Subject[];
  readonly recorder: Recorder;
  readonly prompts: Prompts;
  readonly facts: ModelFacts;
  /** Null where the machine's compiler is missing, which the report says. */
  readonly roof: Roof | null;
  readonly threads: number;
  readonly precise: boolean;
  /** Longest context of the model that is used. */
  readonly contextLength: number;
  /**
   * Of the measure's depths, lengths or counts: those that were asked for; null: all. `memory`
   * takes one as its positions, `quality` as its windows.
   */
  readonly cases: readonly number[] | null;
  /** The longest that one request may take. */
  readonly limitMs: number;
  readonly note: (line: string) => void;
}

/** One name of `npm run bench`. A round measures every subject once, so that rounds interleave. */
export interface Measure {
  readonly name: string;
  readonly about: string;
  /** Rounds unless told; 1 where nothing varies. */
  readonly rounds: number;
  /** What it can be compared with; the first unless told. */
  readonly peers: readonly PeerName[];
  round(bench: Bench, round: number): Promise<void>;
}

/** Engines like ours. */
export const enginePeers = ['llama', 'mlx-lm'] as const;

/** Those of a measure's cases that are wanted. */
export function wantedCases(bench: Bench, all: readonly number[]): number[] {
  const { cases } = bench;
  return cases === null ? [...all] : all.filter((value) => cases.includes(value));
}

/** Does something for a subject; what goes wrong is a reason in the report and not the end. */
export async function attempt(
  bench: Bench,
  subject: string,
  name: string,
  work: () => Promise<void>,
): Promise<void> {
  try {
    await work();
  } catch (error) {
    bench.recorder.absent(subject, name, errorMessage(error));
    bench.note(`${subject}, ${name}: ${errorMessage(error)}`);
  }
}

/**
 * Opens an engine, lets it run a little, so that all that is done once is done, and closes it after
 * the work.
 */
export async function withEngine<Result>(
  bench: Bench,
  subject: Subject,
  needs: Needs,
  work: (engine: Engine) => Promise<Result>,
): Promise<Result> {
  const engine = subject.open(needs);
  try {
    await engine.generate([bench.prompts.next(warmUpTokens)], warmUpTokens, bench.limitMs);
    return await work(engine);
  } finally {
    await engine.close();
  }
}
const warmUpTokens = 16;

/** Measures the machine's roof in this very round; null where it cannot be measured. */
export async function recordRoof(
  { roof, recorder }: Bench,
  round: number,
  kind: 'read' | 'multiply',
  threads: number,
): Promise<number | null> {
  if (roof === null) return null;
  const value = await roof.measure(kind, threads);
  const name = threads === 1 ? '1 thread' : `${threads} threads`;
  recorder.record({ subject: 'machine', case: name, metric: kind }, round, value);
  return value;
}

/** How much of the roof (1e9 a second) our speed comes to at `amount` bytes or products a token. */
export function recordShare(
  { recorder }: Bench,
  round: number,
  name: string,
  {
    metric,
    share,
    amount,
    roof,
  }: {
    readonly metric: 'decode' | 'prompt';
    readonly share: 'share of the read roof' | 'share of the multiply roof';
    readonly amount: number;
    readonly roof: number | null;
  },
): void {
  const speed = recorder.value({ subject: ownName, case: name, metric }, round);
  if (roof === null || speed === null) return;
  const percent = (100 * speed * amount) / (roof * 1e9);
  recorder.record({ subject: ownName, case: name, metric: share }, round, percent);
}
