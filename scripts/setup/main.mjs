import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { addonIsBuilt, buildAddon } from './addons.mjs';
import { buildFolder, cacheFolder, fingerprintName, isCheckout } from './context.mjs';
import { neededAddons, thisMachine } from './context.mjs';
import { explain, InterruptedError } from './error.mjs';
import { fingerprint } from './fingerprint.mjs';
import { withLock } from './lock.mjs';
import { installPackages, packagesAreInstalled } from './packages.mjs';
import { createProgress } from './progress.mjs';
import { bundle, isBundled } from './bundle.mjs';

/** @typedef {import('./context.mjs').Context} Context */
/**
 * @typedef {object} Step
 * @property {string} name
 * @property {() => Promise<boolean> | boolean} isDone looks only; false where it cannot tell
 * @property {() => Promise<void>} run
 */
/**
 * @typedef {object} Options
 * @property {string} root
 * @property {AbortSignal} signal
 * @property {boolean} [forTests] also what only tests need
 * @property {boolean} [onlyDist] npm packages and dist/, no addon
 * @property {Partial<import('./context.mjs').Machine>} [machine]
 * @property {{ write(text: string): unknown, isTTY?: boolean }} [output]
 */

/**
 * Brings a checkout or an installed package to where it can run: each step looks whether its work
 * is done and does it otherwise. Interrupted anywhere, the next call goes on from there.
 * @param {Options} options
 * @returns {Promise<string[]>} the names of the steps that had something to do
 */
export async function setUp(options) {
  const context = createContext(options);
  const steps = stepsOf(context, options.onlyDist === true);
  /** @type {string[]} */
  const ran = [];
  if (!(await areDone(steps))) {
    const lock = join(context.build, '..', 'setup.lock');
    const onWait = (/** @type {string} */ holder) =>
      context.progress.line(`waiting for another set-up (${holder})`);
    await withLock(lock, { signal: context.signal, onWait }, async () => {
      rmSync(context.temporary, { recursive: true, force: true });
      for (const step of steps) {
        if (context.signal.aborted) throw new InterruptedError();
        if (await step.isDone()) continue;
        await step.run();
        ran.push(step.name);
      }
    });
  }
  if (options.onlyDist !== true) rememberFingerprint(context);
  return ran;
}

/**
 * The set-up as a command. A signal ends what runs, leaves everything so that the next try works,
 * and gives the exit status of an interruption.
 * @param {Omit<Options, 'signal'>} options
 * @returns {Promise<number>} the exit status
 */
export async function setUpAsCommand(options) {
  const controller = new AbortController();
  const abort = () => controller.abort();
  const signals = /** @type {const} */ (['SIGINT', 'SIGTERM', 'SIGHUP']);
  for (const name of signals) process.on(name, abort);
  try {
    await setUp({ ...options, signal: controller.signal });
    return 0;
  } catch (error) {
    process.stderr.write(`set-up failed: ${explain(error)}\n`);
    return error instanceof InterruptedError ? 130 : 1;
  } finally {
    for (const name of signals) process.off(name, abort);
  }
}

/**
 * @param {Options} options
 * @returns {Context}
 */
export function createContext(options) {
  const machine = { ...thisMachine(), ...options.machine };
  const root = resolve(options.root);
  const build = buildFolder(root, machine);
  return {
    ...machine,
    root,
    checkout: isCheckout(root),
    cache: cacheFolder(machine.env),
    build,
    temporary: join(build, 'tmp'),
    forTests: options.forTests === true,
    signal: options.signal,
    progress: createProgress(options.output ?? process.stderr),
  };
}

/**
 * @param {Context} context
 * @param {boolean} onlyDist
 * @returns {Step[]}
 */
function stepsOf(context, onlyDist) {
  /** @type {Step[]} */
  const fromSources = [
    {
      name: 'packages',
      isDone: () => packagesAreInstalled(context),
      run: () => installPackages(context),
    },
    {
      name: 'typescript',
      isDone: () => isBundled(context),
      run: () => bundle(context),
    },
  ];
  const addons = neededAddons(context, context.forTests).map((addon) => ({
    name: `addon ${addon}`,
    isDone: () => addonIsBuilt(context, addon),
    run: () => buildAddon(context, addon),
  }));
  return [...(context.checkout ? fromSources : []), ...(onlyDist ? [] : addons)];
}

/** @param {readonly Step[]} steps */
async function areDone(steps) {
  for (const step of steps) {
    // Later steps look at what earlier ones bring.
    if (!(await step.isDone())) return false;
  }
  return true;
}

/** @param {Context} context */
function rememberFingerprint(context) {
  const { root, build, env, platform, arch, release } = context;
  mkdirSync(build, { recursive: true });
  const mark = fingerprint(root, { env, platform, arch, release });
  writeFileSync(join(build, fingerprintName), mark);
}
