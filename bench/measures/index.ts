import { batch } from './batch.ts';
import { decode } from './decode.ts';
import type { Measure } from './measure.ts';
import { memory } from './memory.ts';
import { neighbour } from './neighbour.ts';
import { prompt } from './prompt.ts';
import { quality } from './quality.ts';
import { ranks } from './ranks.ts';
import { serve } from './serve.ts';
import { soak } from './soak.ts';
import { start } from './start.ts';

export const measures: readonly Measure[] = [
  decode,
  prompt,
  batch,
  serve,
  start,
  memory,
  neighbour,
  quality,
  soak,
  ranks,
];
