import { parseArgs } from 'node:util';
import { CideryError, errorMessage } from '../src/base/error.ts';
import type { SplitKind } from '../src/model/split/plan.ts';

export const faultKinds = ['kill', 'stop', 'cut'] as const;
/**
 * `kill`: SIGKILL; `stop`: SIGSTOP, a process that is there and does nothing; `cut`: every packet
 * between the rank and the others is lost.
 */
export type FaultKind = (typeof faultKinds)[number];

export interface ChaosOptions {
  readonly kills: number;
  readonly ranks: number;
  readonly split: SplitKind | 'auto';
  readonly mode: 'fast' | 'precise';
  readonly seed: number;
  readonly clients: number;
  readonly faults: readonly [FaultKind, ...FaultKind[]];
  readonly model: string;
}

const usage = `npm run chaos -- [--kills N] [--ranks N] [--split tensor|pipeline|auto] [--fast]
    [--seed N] [--clients N] [--faults kill,stop,cut] [--model M]
`;

/** @throws CideryError `usage`, with the usage as its hint. */
export function parseOptions(argv: readonly string[], defaultModel: string): ChaosOptions {
  const { values } = parse(argv);
  const { split = 'auto' } = values;
  if (split !== 'auto' && split !== 'tensor' && split !== 'pipeline') {
    throw wrong(`--split is tensor, pipeline or auto, not '${split}'`);
  }
  const ranks = whole('--ranks', values.ranks ?? '1');
  return {
    kills: whole('--kills', values.kills ?? '50'),
    ranks,
    split,
    mode: values.fast === true ? 'fast' : 'precise',
    seed: whole('--seed', values.seed ?? '1'),
    clients: whole('--clients', values.clients ?? '6'),
    faults: kinds(values.faults ?? 'kill,stop', ranks),
    model: values.model ?? defaultModel,
  };
}

function parse(argv: readonly string[]) {
  const text = { type: 'string' } as const;
  const options = {
    kills: text,
    ranks: text,
    split: text,
    fast: { type: 'boolean' },
    seed: text,
    clients: text,
    faults: text,
    model: text,
  } as const;
  try {
    return parseArgs({ args: [...argv], options });
  } catch (error) {
    throw wrong(errorMessage(error));
  }
}

function kinds(text: string, ranks: number): [FaultKind, ...FaultKind[]] {
  const [first, ...rest] = text.split(',').map((name) => {
    const known = faultKinds.find((kind) => kind === name);
    if (known === undefined) throw wrong(`--faults knows ${faultKinds.join(', ')}, not '${name}'`);
    return known;
  });
  if (first === undefined) throw wrong('--faults names at least one');
  if (ranks === 1 && [first, ...rest].includes('cut')) {
    throw wrong('one rank cannot be cut off from others: --faults cut needs --ranks 2 or more');
  }
  return [first, ...rest];
}

function whole(flag: string, text: string): number {
  if (/^[1-9]\d{0,8}$/u.test(text)) return Number(text);
  throw wrong(`${flag} takes a whole number above 0, not '${text}'`);
}

function wrong(message: string): CideryError {
  return new CideryError('usage', message, { hint: usage });
}
