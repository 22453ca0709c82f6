import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { runChaos } from '../../chaos/chaos.ts';
import { starterHome, starterModel } from '../support/starter-model.ts';

/** A short run of what `npm run chaos` does at length. */

const home = mkdtempSync(join(tmpdir(), 'cidery-chaos-'));
afterAll(() => rmSync(home, { recursive: true }));

test('a rank that is killed three times under load costs no answer anything', async () => {
  mkdirSync(join(home, 'models'));
  symlinkSync(join(await starterHome(), 'models', 'starter'), join(home, 'models', 'starter'));
  const options = {
    kills: 3,
    ranks: 1,
    split: 'auto',
    mode: 'fast',
    seed: 5,
    clients: 3,
    faults: ['kill'],
    model: starterModel,
  } as const;
  const said: string[] = [];
  const cidery = resolve(import.meta.dirname, '../../bin/cidery');
  const report = await runChaos(options, { cidery, home, say: (line) => said.push(line) });
  expect(report, said.join('\n')).toMatchObject({
    faults: 3,
    byKind: { kill: 3 },
    wrong: [],
    leftBehind: [],
  });
  expect(report.answers).toBeGreaterThanOrEqual(3);
  expect(report.recoveryMs?.count ?? 0).toBeGreaterThan(0);
}, 300_000);
