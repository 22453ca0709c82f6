import { cpSync, existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { diskFullError, saysDiskFull, SetupError } from './error.mjs';
import { filesBelow, hashOf, hashOfFiles, textIfThere } from './hash.mjs';
import { lastLines, run } from './process.mjs';
import { during } from './progress.mjs';

/** @typedef {import('./context.mjs').Context} Context */

const stampName = '.stamp';
const compileTimeoutMs = 10 * 60_000;

/**
 * Whether dist/ was built from the sources as they are.
 * @param {Context} context
 */
export function typescriptIsBuilt({ root }) {
  return textIfThere(join(root, 'dist', stampName)) === sourceHash(root);
}

/**
 * Compiles src/ and copies the page. It is made beside dist/ and takes its place as a whole, so
 * that dist/ never mixes two states and holds no file whose source is gone. Types are not checked
 * here but by `npm test`: who runs a node need not wait for the proof again.
 * @param {Context} context
 */
export async function buildTypescript(context) {
  const { root } = context;
  await during(context.progress, 'building TypeScript', async () => {
    const hash = sourceHash(root);
    const fresh = join(root, 'build', 'dist.new');
    const old = join(root, 'build', 'dist.old');
    mkdirSync(join(root, 'build'), { recursive: true });
    for (const folder of [fresh, old]) rmSync(folder, { recursive: true, force: true });
    await compile(context, fresh);
    const page = join(root, 'dashboard');
    if (existsSync(page)) cpSync(page, join(fresh, 'dashboard'), { recursive: true });
    writeFileSync(join(fresh, stampName), hash);
    const dist = join(root, 'dist');
    if (existsSync(dist)) renameSync(dist, old);
    renameSync(fresh, dist);
    rmSync(old, { recursive: true, force: true });
  });
}

/**
 * @param {Context} context
 * @param {string} folder
 */
async function compile(context, folder) {
  const tsc = join(context.root, 'node_modules/typescript/bin/tsc');
  const options = ['--noCheck', '--incremental', 'false', '--tsBuildInfoFile', 'null'];
  const finished = await run(
    process.execPath,
    [tsc, '-p', 'tsconfig.build.json', '--outDir', folder, ...options],
    {
      cwd: context.root,
      env: context.env,
      signal: context.signal,
      timeoutMs: compileTimeoutMs,
    },
  );
  if (finished.code === 0) return;
  if (saysDiskFull(finished.stdout + finished.stderr)) throw diskFullError();
  for (const line of lastLines(finished, 20)) context.progress.line(`  ${line}`);
  throw new SetupError('the TypeScript in src/ does not compile', 'mend what stands above');
}

/** @param {string} root */
function sourceHash(root) {
  const sources = filesBelow(root, 'src').filter((path) => !path.endsWith('.test.ts'));
  const settings = ['tsconfig.json', 'tsconfig.build.json', 'node_modules/typescript/package.json'];
  const page = filesBelow(root, 'dashboard');
  return hashOf([hashOfFiles(root, [...sources, ...settings, ...page])]);
}
