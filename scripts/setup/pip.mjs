import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { diskFullError, saysDiskFull, SetupError } from './error.mjs';
import { findProgram, lastLines, run, words } from './process.mjs';

/** @typedef {import('./context.mjs').Context} Context */
/** @typedef {import('./wheels.mjs').Wheel} Wheel */

const barEveryMs = 200;
/** A Python that does not answer by then is broken. */
const probeTimeoutMs = 30_000;
/** The largest wheel at 100 kB/s takes 15 minutes. */
const downloadTimeoutMs = 30 * 60_000;

/** What may fetch a wheel, best first. uv has no `download` of its own, but it can run pip. */
const clients = [
  ['python3', '-m', 'pip'],
  ['python', '-m', 'pip'],
  ['pip3'],
  ['pip'],
  ['uv', 'tool', 'run', 'pip'],
];

/**
 * Downloads a wheel with the Python package client of this machine.
 * @param {Context} context
 * @param {Wheel} wheel
 * @param {string} folder must exist and be empty; the client's own temporary files go there, too
 * @returns {Promise<string>} the path of the wheel, unverified
 */
export async function downloadWheel(context, wheel, folder) {
  const [command, ...client] = await findClient(context);
  // A folder beside the wheel: a full /tmp would not be seen to have anything to do with us.
  const env = { ...context.env, TMPDIR: folder, PIP_REQUIRE_VIRTUALENV: '0' };
  const target = join(folder, 'wheel');
  const timer = setInterval(() => {
    context.progress.bar(sizeBelow(folder), wheel.sizeBytes, `${wheel.name} ${wheel.version}`);
  }, barEveryMs);
  try {
    const finished = await run(command, [...client, ...downloadArguments(wheel, target)], {
      cwd: folder,
      env,
      signal: context.signal,
      timeoutMs: downloadTimeoutMs,
    });
    const output = finished.stdout + finished.stderr;
    if (finished.code !== 0 && saysDiskFull(output)) throw diskFullError();
    const file = finished.code === 0 ? readdirSync(target).find(isWheel) : undefined;
    if (file !== undefined) return join(target, file);
    throw new SetupError(
      `pip could not fetch ${wheel.name} ${wheel.version} for ${wheel.platform} ` +
        `(${lastLines(finished, 1).join('')})`,
      'check the network connection and try again; without a network, put the wheel into a ' +
        'folder and name that in PIP_FIND_LINKS',
    );
  } finally {
    clearInterval(timer);
    context.progress.clear();
  }
}

/**
 * @param {Wheel} wheel
 * @param {string} target
 */
function downloadArguments(wheel, target) {
  return [
    ...words('download --no-deps --only-binary :all: --no-input --retries 2'),
    ...words('--disable-pip-version-check --progress-bar off'),
    // Explicit, so that the Python that runs pip does not matter: these wheels hold no Python code.
    ...words(`--platform ${wheel.platform} --python-version 3.12 --implementation py --abi none`),
    '--dest',
    target,
    `${wheel.name}==${wheel.version}`,
  ];
}

/**
 * @param {Context} context
 * @returns {Promise<[string, ...string[]]>} the command of the first client that answers
 */
async function findClient(context) {
  for (const [name = '', ...args] of clients) {
    const path = findProgram(name, context.env);
    if (path === undefined) continue;
    const answer = await run(path, [...args, '--version'], {
      env: context.env,
      signal: context.signal,
      timeoutMs: probeTimeoutMs,
    });
    if (answer.code === 0) return [path, ...args];
  }
  const otherwise = 'or name a folder with MLX in CIDERY_MLX';
  throw new SetupError(
    'MLX is fetched by the Python package client, and none was found',
    context.platform === 'darwin'
      ? `run \`xcode-select --install\` or \`brew install python\`, ${otherwise}`
      : `run \`apt install python3-pip\` (Fedora: \`dnf install python3-pip\`), ${otherwise}`,
  );
}

/** @param {string} name */
function isWheel(name) {
  return name.endsWith('.whl');
}

/**
 * @param {string} folder
 * @returns {number} bytes of all files, as far as they can be seen while pip moves them about
 */
function sizeBelow(folder) {
  try {
    return readdirSync(folder, { withFileTypes: true }).reduce((sum, entry) => {
      const path = join(folder, entry.name);
      return sum + (entry.isDirectory() ? sizeBelow(path) : statSync(path).size);
    }, 0);
  } catch {
    return 0;
  }
}
