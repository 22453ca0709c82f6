import { parseArgs } from 'node:util';
import { CideryError, errorMessage } from '../src/base/error.ts';

const peerNames = ['llama', 'mlx-lm', 'ring'] as const;
export type PeerName = (typeof peerNames)[number];

/** A measure, as the arguments name it. */
interface Named {
  readonly name: string;
  /** What it can be compared with; the first unless told. */
  readonly peers: readonly PeerName[];
}

export interface Arguments {
  readonly name: string;
  /** Null: the measure's own. */
  readonly rounds: number | null;
  /** File that gets the report as JSON, besides the table. */
  readonly json: string | null;
  /** Null: cidery's own choice. */
  readonly executor: 'cpu' | 'mlx' | null;
  readonly threads: number;
  readonly precise: boolean;
  readonly against: readonly PeerName[];
  /** Null: the starter model. */
  readonly model: string | null;
  readonly cases: readonly number[] | null;
  readonly limitMs: number;
}

export const usage = `npm run bench -- NAME [--rounds N] [--json FILE] [--executor cpu|mlx]
    [--threads N] [--precise] [--against llama,mlx-lm|ring|none] [--model FILE]
    [--cases N,N...] [--limit SECONDS]
`;
const defaultLimitS = 300;

/** @throws CideryError `usage`, with the usage as its hint. */
export function parseArguments(argv: readonly string[], measures: readonly Named[]): Arguments {
  const { values, positionals } = parse(argv);
  const [name, ...rest] = positionals;
  const measure = measures.find((known) => known.name === name);
  if (measure === undefined || rest.length > 0) {
    throw wrong(`name one of ${measures.map((known) => known.name).join(', ')}`);
  }
  const { executor } = values;
  if (executor !== undefined && executor !== 'cpu' && executor !== 'mlx') {
    throw wrong(`--executor is cpu or mlx, not ${executor}`);
  }
  return {
    name: measure.name,
    rounds: values.rounds === undefined ? null : positive('--rounds', values.rounds),
    json: values.json ?? null,
    executor: executor ?? null,
    threads: positive('--threads', values.threads ?? '1'),
    precise: values.precise ?? false,
    against:
      values.against === undefined ? measure.peers.slice(0, 1) : peers(values.against, measure),
    model: values.model ?? null,
    cases: values.cases?.split(',').map((text) => positive('--cases', text)) ?? null,
    limitMs: positive('--limit', values.limit ?? `${defaultLimitS}`) * 1_000,
  };
}

function parse(argv: readonly string[]) {
  const text = { type: 'string' } as const;
  try {
    return parseArgs({
      args: [...argv],
      allowPositionals: true,
      options: {
        rounds: text,
        json: text,
        executor: text,
        threads: text,
        precise: { type: 'boolean' },
        against: text,
        model: text,
        cases: text,
        limit: text,
      },
    });
  } catch (error) {
    throw wrong(errorMessage(error));
  }
}

function peers(text: string, measure: Named): PeerName[] {
  if (text === 'none') return [];
  return text.split(',').map((name) => {
    const known = measure.peers.find((peer) => peer === name);
    if (known !== undefined) return known;
    throw wrong(`--against of ${measure.name} knows ${measure.peers.join(', ')}, not '${name}'`);
  });
}

function positive(flag: string, text: string): number {
  if (/^[1-9]\d{0,8}$/u.test(text)) return Number(text);
  throw wrong(`${flag} takes a whole number above 0, not '${text}'`);
}

function wrong(message: string): CideryError {
  return new CideryError('usage', message, { hint: usage });
}
