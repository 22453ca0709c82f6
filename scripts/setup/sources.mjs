import { filesBelow } from './hash.mjs';

/**
 * A source file and how it is compiled: `common` goes into all addons as it is; `mlx`, `cpu` and
 * `ring` only into those that hold them; `face` is compiled for each.
 *
 * @typedef {{ path: string, kind: 'common' | 'mlx' | 'cpu' | 'ring' | 'face' }} Source
 * @typedef {'cpu' | 'mlx' | 'ring'} AddonName
 */

/** Folders of native/ that are no part of an addon. */
const otherFolders = new Set(['test', 'bench']);
/** @type {Record<string, Source['kind']>} */
const kinds = { mlx: 'mlx', cpu: 'cpu', ring: 'ring', addon: 'face' };
/**
 * What each addon holds besides what is common. `ring` is for tests and the bench alone: MLX's
 * groups, which are neither authenticated nor encrypted, under both executors.
 * @type {Record<AddonName, readonly Source['kind'][]>}
 */
const contents = { cpu: ['cpu'], mlx: ['mlx'], ring: ['cpu', 'mlx', 'ring'] };

/**
 * The sources of an addon, by the folders of native/: mlx/, cpu/ and ring/ belong to some, addon/
 * is their face, everything else is common to all.
 * @param {string} root
 * @param {AddonName} addon
 * @returns {Source[]}
 */
export function addonSources(root, addon) {
  return filesBelow(root, 'native')
    .filter((path) => path.endsWith('.cpp') && !isTest(path))
    .map((path) => ({ path, kind: kinds[path.split('/')[1] ?? ''] ?? 'common' }))
    .filter(({ kind }) => kind === 'common' || kind === 'face' || contents[addon].includes(kind));
}

/**
 * Every file whose content may change an addon.
 * @param {string} root
 */
export function nativeFiles(root) {
  return filesBelow(root, 'native').filter((path) => !isTest(path));
}

/**
 * The native tests: each file has its own `main`.
 * @param {string} root
 */
export function nativeTests(root) {
  return filesBelow(root, 'native').filter((path) => /(?:_test|\/fuzz_\w+)\.cpp$/u.test(path));
}

/**
 * What native tests share, in native/test.
 * @param {string} root
 */
export function nativeTestHelpers(root) {
  const tests = new Set(nativeTests(root));
  return filesBelow(root, 'native/test').filter(
    (path) => path.endsWith('.cpp') && !tests.has(path),
  );
}

/** @param {string} path */
function isTest(path) {
  const [, folder = ''] = path.split('/');
  return otherFolders.has(folder) || /(?:_test|\/fuzz_\w+)\.cpp$/u.test(path);
}
