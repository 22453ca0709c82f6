import { parseArgs } from 'node:util';
import { CideryError, errorMessage } from '../src/base/error.ts';

export const faultKinds = ['kill', 'stop'] as const;
/** `kill`: SIGKILL; `stop`: SIGSTOP, a process that is there and does nothing. */
export type FaultKind = (typeof faultKinds)[number];

export interface ChaosOptions {
  readonly kills: number;
  readonly mode: 'fast' | 'precise';
  readonly seed: number;
  readonly clients: number;
  readonly faults: readonly [FaultKind, ...FaultKind[]];
  readonly model: string;
}

const usage = `npm run chaos -- [--kills N] [--fast] [--seed N] [--clients N] [--faults kill,stop]
    [--model M]
`;

/** @throws CideryError `usage`, with the usage as its hint. */
export function parseOptions(argv: readonly string[], defaultModel: string): ChaosOptions {
  const { values } = parse(argv);
  return {
    kills: whole('--kills', values.kills ?? '50'),
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
