import { type Sample, type Summary, pairedRatio, summarize } from './statistics.ts';

/** What is measured; a name says its unit. */
export const metrics = {
  decode: { unit: 'tok/s', better: 'more' },
  prompt: { unit: 'tok/s', better: 'more' },
  total: { unit: 'tok/s', better: 'more' },
  'first token': { unit: 'ms', better: 'less' },
  'first token p99': { unit: 'ms', better: 'less' },
  'gap p50': { unit: 'ms', better: 'less' },
  'gap p99': { unit: 'ms', better: 'less' },
  'wait in steps': { unit: 'steps', better: 'less' },
  'added to a token': { unit: 'ms', better: 'less' },
  'added to the first': { unit: 'ms', better: 'less' },
  'share of the read roof': { unit: '%', better: 'more' },
  'share of the multiply roof': { unit: '%', better: 'more' },
  read: { unit: 'GB/s', better: 'more' },
  multiply: { unit: 'GMAC/s', better: 'more' },
  memory: { unit: 'MB', better: 'less' },
  'beyond file and KV': { unit: 'MB', better: 'less' },
  'memory at the end': { unit: 'MB', better: 'less' },
  answers: { unit: '', better: 'more' },
  cancelled: { unit: '', better: 'more' },
  perplexity: { unit: '', better: 'less' },
  'perplexity over precise': { unit: '%', better: 'less' },
  'top token as precise': { unit: '%', better: 'more' },
  'tokens as mlx-lm': { unit: '%', better: 'more' },
  'against one free thread': { unit: 'x', better: 'more' },
  'against one rank': { unit: 'x', better: 'more' },
  'against depth 64': { unit: 'x', better: 'more' },
} as const satisfies Record<string, { unit: string; better: 'more' | 'less' }>;
export type Metric = keyof typeof metrics;

interface Key {
  readonly subject: string;
  readonly case: string;
  readonly metric: Metric;
}

export interface Figure extends Key, Summary {
  readonly unit: string;
  readonly samples: readonly Sample[];
  /** How many times better cidery is in the rounds that both have; null for cidery itself. */
  readonly cideryIsBetterBy: Summary | null;
}

export interface Absence {
  readonly subject: string;
  readonly case: string;
  readonly reason: string;
}

export const ownName = 'cidery';

/** Collects the samples of all rounds; what could not be measured is kept with its reason. */
export class Recorder {
  readonly #series: { readonly key: Key; readonly samples: Sample[] }[] = [];
  readonly #absences: Absence[] = [];

  /** A value that is no number is a bug of the measure's or a clock that stood still: left out. */
  record(key: Key, round: number, value: number): void {
    if (!Number.isFinite(value)) {
      this.absent(key.subject, key.case, `${key.metric} came to ${value} in round ${round}`);
      return;
    }
    this.#seriesOf(key).push({ round, value });
  }

  absent(subject: string, name: string, reason: string): void {
    const known = this.#absences.some(
      (absence) =>
        absence.subject === subject && absence.case === name && absence.reason === reason,
    );
    if (!known) this.#absences.push({ subject, case: name, reason });
  }

  /** The value of one round, for figures that are made of two others. */
  value(key: Key, round: number): number | null {
    return this.#seriesOf(key).find((sample) => sample.round === round)?.value ?? null;
  }

  get absences(): readonly Absence[] {
    return this.#absences;
  }

  figures(): Figure[] {
    const measured = this.#series.filter(({ samples }) => samples.length > 0);
    return measured.map(({ key, samples }) => {
      const ours = measured.find(
        (series) =>
          series.key.subject === ownName &&
          series.key.case === key.case &&
          series.key.metric === key.metric,
      );
      const { unit, better } = metrics[key.metric];
      const isOwn = key.subject === ownName || ours === undefined;
      return {
        ...key,
        unit,
        ...summarize(samples.map(({ value }) => value)),
        samples,
        cideryIsBetterBy: isOwn ? null : pairedRatio(ours.samples, samples, better),
      };
    });
  }

  #seriesOf(key: Key): Sample[] {
    const found = this.#series.find(
      (series) =>
        series.key.subject === key.subject &&
        series.key.case === key.case &&
        series.key.metric === key.metric,
    );
    if (found !== undefined) return found.samples;
    const samples: Sample[] = [];
    this.#series.push({ key, samples });
    return samples;
  }
}
