import { mkdir, mkdtemp, rm, symlink } from 'node:fs/promises';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { CideryError, errorMessage } from '../src/base/error.ts';
import { parseOptions } from './arguments.ts';
import { runChaos } from './chaos.ts';

/** A home of its own that shares the models of the user's. */
async function borrowedHome(): Promise<string> {
  const home = await mkdtemp(join(tmpdir(), 'cidery-chaos-'));
  const own = process.env['CIDERY_HOME'] ?? join(homedir(), '.cidery');
  await mkdir(home, { recursive: true });
  await symlink(join(own, 'models'), join(home, 'models'));
  return home;
}

async function main(): Promise<number> {
  const options = parseOptions(process.argv.slice(2), 'smollm2:135m');
  const root = process.env['CIDERY_ROOT'];
  if (root === undefined) throw new CideryError('usage', 'start it by `npm run chaos`');
  const home = await borrowedHome();
  try {
    const say = (line: string) => process.stderr.write(`${line}\n`);
    const report = await runChaos(options, { cidery: join(root, 'bin/cidery'), home, say });
    process.stdout.write(`${JSON.stringify(report, null, 2)}\n`);
    const { wrong, leftBehind, fewestRanks } = report;
    return wrong.length + leftBehind.length + options.ranks - fewestRanks === 0 ? 0 : 1;
  } finally {
    await rm(home, { recursive: true, force: true });
  }
}

try {
  process.exitCode = await main();
} catch (error) {
  const hint = error instanceof CideryError && error.hint !== undefined ? `\n${error.hint}` : '';
  process.stderr.write(`${errorMessage(error)}${hint}\n`);
  process.exitCode = error instanceof CideryError && error.code === 'usage' ? 2 : 1;
}
