import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { errorMessage } from '../base/error.ts';
import { chosenExecutor, openNode } from '../node/open-node.ts';
import { machineFacts } from '../platform/machine.ts';
import { runCommand } from '../platform/real-command.ts';
import { realDisk } from '../platform/real-disk.ts';
import { readHubSettings } from '../store/hub/settings.ts';
import { type CommandContext, nodeSettings } from './context.ts';
import { findNode } from './find-node.ts';
import { formatBytes } from './output.ts';
import { readPage } from './page.ts';
import { errorLine } from './report-error.ts';

/** One thing that was looked at. `action` says what to do where there is something to do. */
export interface Finding {
  readonly name: string;
  readonly result: 'ok' | 'warn' | 'fail';
  readonly detail: string;
  readonly action: string | null;
}

type Outcome = Omit<Finding, 'name'>;
type Check = (context: CommandContext) => Promise<Outcome>;

/** Every check in turn; one that throws has failed. */
export async function* findings(context: CommandContext): AsyncGenerator<Finding, void, void> {
  for (const [name, check] of checks) {
    context.signal.throwIfAborted();
    let outcome: Outcome;
    try {
      outcome = await check(context);
    } catch (error) {
      outcome = fail(errorLine(error), null);
    }
    yield { name, ...outcome };
  }
}

const checks: readonly (readonly [string, Check])[] = [
  ['Node', checkNode],
  ['addon cpu', () => checkAddon('cpu')],
  ['addon mlx', checkMlxAddon],
  ['rank process', checkRank],
  ['page', checkPage],
  ['C++ compiler', () => checkProgram('c++', ['--version'], 'to build the addons')],
  ['Python client', () => checkProgram('python3', ['-m', 'pip', '--version'], 'to fetch MLX')],
  ['home folder', checkHome],
  ['model cache', checkModelCache],
  ['disk', checkDisk],
  ['memory', checkMemory],
  ['node', checkRunningNode],
];

const ok = (detail: string): Outcome => ({ result: 'ok', detail, action: null });
const warn = (detail: string, action: string): Outcome => ({ result: 'warn', detail, action });
const fail = (detail: string, action: string | null): Outcome => ({
  result: 'fail',
  detail,
  action,
});

/** The floor of package.json. */
const leastNode = [20, 19] as const;

async function checkNode(): Promise<Outcome> {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  const enough = major > leastNode[0] || (major === leastNode[0] && minor >= leastNode[1]);
  const detail = `${process.version}, ${process.platform}-${process.arch}`;
  return enough ? ok(detail) : fail(detail, `install Node ${leastNode.join('.')} or newer`);
}

function packageRoot(): string {
  return fileURLToPath(new URL('../..', import.meta.url));
}

/** Loaded in a process of its own: an addon that does not fit this machine may end it. */
async function checkAddon(name: 'cpu' | 'mlx'): Promise<Outcome> {
  const folder =
    process.env['CIDERY_ADDONS'] ??
    join(packageRoot(), 'build', `${process.platform}-${process.arch}`);
  const path = join(folder, `cidery_${name}.node`);
  if (!existsSync(path)) {
    const detail = `there is no ${path}`;
    return fail(detail, 'run set-up: `npm run build`, or `npm start`');
  }
  const script = `console.log(JSON.stringify(require(${JSON.stringify(path)}).info()))`;
  const options = { outputMaxBytes: 16_384 };
  const { status, output } = await runCommand(process.execPath, ['-e', script], options);
  const last = output.trim().split('\n').at(-1) ?? '';
  return status === 0 ? ok(last) : fail(`it does not load: ${last}`, 'run set-up again');
}

/** MLX is needed where it drives a GPU, or where somebody asks for it. */
async function checkMlxAddon(context: CommandContext): Promise<Outcome> {
  const { executor, environment } = nodeSettings(context, {});
  const outcome = await checkAddon('mlx');
  if (outcome.result === 'ok' || chosenExecutor({ executor, environment }) === 'mlx')
    return outcome;
  return ok('not built; this machine computes with the cpu addon');
}

/** A rank starts, speaks the protocol, and its text side works. */
async function checkRank(context: CommandContext): Promise<Outcome> {
  const node = await openNode(nodeSettings(context, {}));
  try {
    const { text } = await node.text({
      op: 'render',
      template: '{{ messages[0].content }}',
      messages: [{ role: 'user', content: 'well' }],
      tools: null,
      addGenerationPrompt: false,
      variables: {},
      now: null,
    });
    return text === 'well' ? ok('starts and answers') : fail('it answers nonsense', null);
  } finally {
    await node.close();
  }
}

async function checkPage(): Promise<Outcome> {
  const page = await readPage();
  return page.has('/') ? ok(`${page.size} files`) : fail('its document is missing', null);
}

async function checkProgram(program: string, args: string[], purpose: string): Promise<Outcome> {
  try {
    const { status, output } = await runCommand(program, args, { outputMaxBytes: 4_096 });
    const first = output.trim().split('\n')[0] ?? '';
    if (status === 0) return ok(first);
    return warn(`\`${program} ${args.join(' ')}\` fails: ${first}`, `install it ${purpose}`);
  } catch (error) {
    return warn(errorMessage(error), `install it ${purpose}; not needed once set-up is done`);
  }
}

async function checkHome({ home }: CommandContext): Promise<Outcome> {
  const probe = join(home, 'run', `.doctor-${process.pid}`);
  await realDisk.makeFolder(join(home, 'run'));
  await realDisk.writeTextAtomically(probe, 'well');
  await realDisk.remove(probe);
  return ok(home);
}

async function checkModelCache({ environment }: CommandContext): Promise<Outcome> {
  const { cacheFolder, offline, endpoint } = readHubSettings(environment, homedir());
  const names = (await realDisk.list(cacheFolder)).filter((name) => name.startsWith('models--'));
  const hub = offline ? 'offline' : endpoint;
  return ok(`${names.length} repositories in ${cacheFolder}, hub: ${hub}`);
}

/** A small model and its working files. */
const leastDiskBytes = 2e9;
const leastMemoryBytes = 1e9;

async function checkDisk({ home }: CommandContext): Promise<Outcome> {
  const free = await realDisk.freeBytes(home);
  const detail = `${formatBytes(free)} free`;
  if (free >= leastDiskBytes) return ok(detail);
  return warn(detail, 'free some space before fetching models; `cidery rm M` deletes one');
}

async function checkMemory(): Promise<Outcome> {
  const machine = machineFacts();
  const free = machine.freeMemoryBytes();
  const detail = `${formatBytes(free)} free of ${formatBytes(machine.totalMemoryBytes)}`;
  return free >= leastMemoryBytes ? ok(detail) : warn(detail, 'end programs that are not needed');
}

async function checkRunningNode(context: CommandContext): Promise<Outcome> {
  const client = await findNode(context);
  return ok(client === null ? 'none runs' : `runs at ${client.url}`);
}
