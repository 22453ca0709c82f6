import { CideryError } from '../base/error.ts';

export interface SplitFlags {
  readonly ranks?: number;
  readonly split?: 'tensor' | 'pipeline' | 'auto';
}

/** Throws `split_unsupported` for what one rank cannot do. */
export function refuseSplit({ ranks, split }: SplitFlags): void {
  if ((ranks ?? 1) === 1 && (split ?? 'auto') === 'auto') return;
  throw new CideryError('split_unsupported', 'this version runs one rank on one machine', {
    hint: 'leave out --ranks and --split',
  });
}
