import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { runCommand } from '../../src/platform/real-command.ts';
import { benchLimits } from '../limits.ts';
import { Cidery, type CiderySettings } from './cidery.ts';
import type { Prepared } from './subject.ts';

const name = "MLX's ring";

/**
 * The product itself, the same executor and kernels, whose ranks talk through MLX Distributed's
 * ring in place of our group. The addon that holds the ring is made by set-up for tests.
 */
export async function prepareMlxRing(settings: CiderySettings): Promise<Prepared> {
  const { root } = settings;
  const run = async (...args: string[]) => {
    const { status, output } = await runCommand(process.execPath, args, {
      outputMaxBytes: benchLimits.commandOutputMaxBytes,
    });
    return { failed: status !== 0, said: output.trim().split('\n').at(-1) ?? '' };
  };
  const setUp = await run(join(root, 'scripts/setup.mjs'), '--for-tests');
  if (setUp.failed) return { name, absent: setUp.said };
  const module = pathToFileURL(join(root, 'dist/engine/load-addon.js')).href;
  const asked = "loadAddon('ring').info().mlx";
  const script = `import { loadAddon } from '${module}'; console.log(${asked});`;
  const loaded = await run('--input-type=module', '--eval', script);
  if (loaded.failed) return { name, absent: `its addon does not load: ${loaded.said}` };
  const environment = { CIDERY_GROUP: 'unsealed-mlx-ring' };
  return new Cidery({
    ...settings,
    version: `MLX ${loaded.said}`,
    variant: { name, environment },
  });
}
