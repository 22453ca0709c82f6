import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { diskFullError, saysDiskFull, SetupError } from './error.mjs';
import { filesBelow, hashOf, hashOfFiles, textIfThere } from './hash.mjs';
import { during } from './progress.mjs';

/** @typedef {import('./context.mjs').Context} Context */

const stampName = '.stamp';
const noticesName = 'third-party.txt';

/** What is started or imported by its path: the command line, ranks, threads; tests and bench. */
const entries = [
  'cli/main',
  'engine/load-addon',
  'engine/main',
  'node/manifest-worker',
  'node/open-node',
  'text/template-worker',
];
/** For Node, with all packages inside but for those that bring a binary for each platform. */
export const forNode = { platform: /** @type {const} */ ('node'), external: ['tokenizers'] };

/**
 * Whether dist/ was built from the sources as they are.
 * @param {Context} context
 */
export function isBundled({ root }) {
  return textIfThere(join(root, 'dist', stampName)) === sourceHash(root);
}

/**
 * Makes dist/ of src/ and the packages that it imports: forty files in place of hundreds, of which
 * a process reads a dozen; `cidery run` came to its first token a fifth sooner by it. It is made
 * beside dist/ and takes its place as a whole, so that dist/ never mixes two states and holds no
 * file whose source is gone. Types are not checked here but by `npm test`: who runs a node need
 * not wait for the proof again.
 * @param {Context} context
 */
export async function bundle(context) {
  const { root } = context;
  await during(context.progress, 'building TypeScript', async () => {
    const hash = sourceHash(root);
    const fresh = join(root, 'build', 'dist.new');
    const old = join(root, 'build', 'dist.old');
    mkdirSync(join(root, 'build'), { recursive: true });
    for (const folder of [fresh, old]) rmSync(folder, { recursive: true, force: true });
    const modules = await write(context, fresh);
    writeFileSync(join(fresh, noticesName), notices(modules));
    writeFileSync(join(fresh, stampName), hash);
    const dist = join(root, 'dist');
    if (existsSync(dist)) renameSync(dist, old);
    renameSync(fresh, dist);
    rmSync(old, { recursive: true, force: true });
  });
}

/**
 * Files lie one folder deep, as they do in src/, so that paths relative to them mean the same.
 * @param {Context} context
 * @param {string} folder
 * @returns {Promise<string[]>} the modules that went into it
 */
async function write({ root, progress }, folder) {
  // Not there before the packages are.
  const { rolldown } = await import('rolldown');
  try {
    const graph = await rolldown({
      cwd: root,
      input: Object.fromEntries(entries.map((name) => [name, `src/${name}.ts`])),
      ...forNode,
    });
    try {
      const chunkFileNames = 'shared/[name]-[hash].js';
      const { output } = await graph.write({ dir: folder, format: 'esm', chunkFileNames });
      return output.flatMap((file) => (file.type === 'chunk' ? file.moduleIds : []));
    } finally {
      await graph.close();
    }
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    if (saysDiskFull(text)) throw diskFullError();
    for (const line of text.split('\n').slice(0, 20)) progress.line(`  ${line}`);
    throw new SetupError('the TypeScript in src/ does not compile', 'mend what stands above');
  }
}

/**
 * The licences of the packages that went into dist/, as they ask for it.
 * @param {readonly string[]} modules
 */
function notices(modules) {
  /** @type {Map<string, string>} */
  const folders = new Map();
  for (const id of modules) {
    const found = /^.*\/node_modules\/((?:@[^/]+\/)?[^/]+)/u.exec(id);
    if (found?.[1] !== undefined) folders.set(found[1], found[0]);
  }
  const texts = [...folders.keys()].toSorted().map((name) => {
    const folder = folders.get(name) ?? '';
    const file = readdirSync(folder).find((entry) => /^licen[cs]e/iu.test(entry));
    if (file === undefined) throw new SetupError(`${name} has no licence`, 'leave it out');
    return `${name}\n\n${textIfThere(join(folder, file))}`;
  });
  return texts.join(`\n${'-'.repeat(80)}\n`);
}

/** @param {string} root */
function sourceHash(root) {
  const sources = filesBelow(root, 'src').filter((path) => !path.endsWith('.test.ts'));
  const settings = ['package-lock.json', 'scripts/setup/bundle.mjs', 'tsconfig.json'];
  return hashOf([hashOfFiles(root, [...sources, ...settings])]);
}
