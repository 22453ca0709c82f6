import { parseArgs } from 'node:util';
import { CideryError, errorMessage } from '../src/base/error.ts';

export const faultKinds = ['kill', 'stop', 'cut'] as const;
/** `kill`: SIGKILL; `stop`: SIGSTOP; `cut`: every packet between the rank and the others is lost. */
export type FaultKind = (typeof faultKinds)[number];

export interface ChaosOptions {
  readonly kills: number;
  readonly ranks: number;
  readonly split: 'tensor' | 'pipeline';
  readonly mode: 'fast' | 'precise';
  readonly seed: number;
  readonly clients: number;
  readonly faults: readonly [FaultKind, ...FaultKind[]];
  readonly model: string;
}

const usage = `npm run chaos -- [--kills N] [--ranks N] [--split tensor|pipeline] [--fast]
    [--seed N] [--clients N] [--faults kill,stop,cut] [--model M]
`;

/** @throws CideryError `usage`, with the usage as its hint. */
export function parseOptions(argv: readonly string[], defaultModel: string): ChaosOptions {
  const { values } = parse(argv);
  const { split = 'tensor' } = values;
  if (split !== 'tensor' && split !== 'pipeline') {
    throw wrong(`--split is tensor or pipeline, not '${split}'`);
  }
  return {
    kills: whole('--kills', values.kills ?? '50'),
    ranks: whole('--ranks', values.ranks ?? '3'),
    split,
    mode: values.fast === true ? 'fast' : 'precise',
    seed: whole('--seed', values.seed ?? '1'),
    clients: whole('--clients', values.clients ?? '6'),
    faults: kinds(values.faults ?? faultKinds.join(',')),
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

function kinds(text: string): [FaultKind, ...FaultKind[]] {
  const [first, ...rest] = text.split(',').map((name) => {
    const known = faultKinds.find((kind) => kind === name);
    if (known === undefined) throw wrong(`--faults knows ${faultKinds.join(', ')}, not '${name}'`);
    return known;
  });
  if (first === undefined) throw wrong('--faults names at least one');
  return [first, ...rest];
}

function whole(flag: string, text: string): number {
  if (/^[1-9]\d{0,8}$/u.test(text)) return Number(text);
  throw wrong(`${flag} takes a whole number above 0, not '${text}'`);
}

function wrong(message: string): CideryError {
  return new CideryError('usage', message, { hint: usage });
}
