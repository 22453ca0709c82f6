import { splitKinds } from '../model/split/plan.ts';
import { Command, Option } from 'commander';
import { version } from '../node/version.ts';
import {
  byteCount,
  nonNegativeInteger,
  portNumber,
  positiveInteger,
  probability,
  seedDigits,
  temperature,
} from './arguments.ts';
import {
  commandContext,
  type CommandContext,
  type EngineFlags,
  type SplitFlags,
} from './context.ts';

/** What `--json` and `--home` come to, in any command. */
interface CommonFlags {
  readonly json?: boolean;
  readonly home?: string;
}

/** The command line. Each command's code is loaded when it is called, so that starting is quick. */
export function buildProgram(signal: AbortSignal): Command {
  const program = new Command('cidery')
    .description('One computer for AI out of the machines that you own')
    .version(version(), '-V, --version')
    .exitOverride()
    .showHelpAfterError('(cidery --help lists the commands)')
    .configureHelp({ sortSubcommands: false });
  const context = (flags: CommonFlags): CommandContext => commandContext(flags, signal);
  addServing(program, context);
  addModels(program, context);
  addInstances(program, context);
  addChecks(program, context);
  addLater(program);
  return program;
}

type MakeContext = (flags: CommonFlags) => CommandContext;

const jsonFlag = ['--json', 'print JSON on standard output and nothing else'] as const;
const modelHelp = 'a catalogue name, org/name, a folder, or a .gguf file';

function engineOptions(command: Command): Command {
  return command
    .option('--precise', '32-bit activations and caches')
    .option('--threads <n>', 'threads of an engine (0: one a core)', nonNegativeInteger)
    .addOption(new Option('--executor <name>', 'what computes').choices(['cpu', 'mlx']));
}

function splitOptions(command: Command): Command {
  return command
    .option('--ranks <n>', 'processes to split the model over (default: 1)', positiveInteger)
    .addOption(new Option('--split <kind>', 'how to split it').choices([...splitKinds, 'auto']))
    .hook('preAction', (_, action) => {
      const { ranks, split = 'auto' } = action.opts<SplitFlags>();
      if (split !== 'auto' && ranks === undefined) action.error('error: --split needs --ranks N');
    });
}

function addServing(program: Command, context: MakeContext): void {
  engineOptions(program.command('start'))
    .description('run the node of this machine in the foreground')
    .option('--model <m...>', 'models to load (default: the starter model)')
    .option('--port <p>', 'port to serve at; 0 picks a free one', portNumber)
    .option('--host <h>', 'address to serve at; off loopback CIDERY_API_KEY must be set')
    .option('--home <dir>', 'folder of the node (default: CIDERY_HOME, else ~/.cidery)')
    .option('--context <n>', 'longest context of any model, in tokens', positiveInteger)
    .option('--kv-memory <bytes>', 'memory for keys and values of a model', byteCount)
    .option(...jsonFlag)
    .action(async (flags: CommonFlags & EngineFlags & { model?: string[] }) =>
      (await import('./commands/start.ts')).start(context(flags), flags),
    );
  splitOptions(engineOptions(program.command('run')))
    .description('answer one prompt, or chat')
    .argument('<model>', modelHelp)
    .argument('[prompt]', 'what to answer; - reads it from standard input; without it: a chat')
    .option('--max-tokens <n>', 'longest answer', positiveInteger)
    .option('--temperature <t>', '0 is greedy (default: 0.2)', temperature)
    .option('--top-p <p>', 'nucleus sampling (default: 0.9)', probability)
    .option('--seed <s>', 'makes a sampled answer repeatable', seedDigits)
    .option('--system <s>', 'system message')
    .addOption(
      new Option('--raw', 'continue the prompt, without a chat template').conflicts('system'),
    )
    .option(...jsonFlag)
    .hook('preAction', refuseChat)
    .action(async (model: string, prompt: string | undefined, flags: CommonFlags & EngineFlags) =>
      (await import('./commands/run.ts')).run(context(flags), model, prompt ?? null, flags),
    );
}

/** What stands for itself and cannot be a turn of a chat needs a prompt. */
function refuseChat(_: Command, run: Command): void {
  const { raw, json } = run.opts<{ raw?: boolean; json?: boolean }>();
  if (run.args.length > 1 || (raw !== true && json !== true)) return;
  const flag = raw === true ? '--raw' : '--json';
  run.error(`error: ${flag} needs a prompt, as an argument or, with -, on standard input`);
}

function addModels(program: Command, context: MakeContext): void {
  program
    .command('pull')
    .description('fetch a model')
    .argument('<model>', 'a catalogue name or org/name')
    .option(...jsonFlag)
    .action(async (model: string, flags: CommonFlags) =>
      (await import('./commands/models.ts')).pull(context(flags), model),
    );
  program
    .command('models')
    .description('list the models on this machine')
    .option(...jsonFlag)
    .action(async (flags: CommonFlags) =>
      (await import('./commands/models.ts')).models(context(flags)),
    );
  program
    .command('rm')
    .description('delete a model from this machine')
    .argument('<model>', 'a name as `cidery models` shows it')
    .option(...jsonFlag)
    .action(async (model: string, flags: CommonFlags) =>
      (await import('./commands/models.ts')).remove(context(flags), model),
    );
}

function addInstances(program: Command, context: MakeContext): void {
  program
    .command('ps')
    .description('list what runs, with memory and speed')
    .option(...jsonFlag)
    .action(async (flags: CommonFlags) =>
      (await import('./commands/instances.ts')).ps(context(flags)),
    );
  program
    .command('stop')
    .description('stop a running model')
    .argument('<id>', 'id of a deployment or an instance, or the name of its model')
    .option(...jsonFlag)
    .action(async (id: string, flags: CommonFlags) =>
      (await import('./commands/instances.ts')).stop(context(flags), id),
    );
  program
    .command('status')
    .description('show whether the node is up and what it does')
    .option(...jsonFlag)
    .action(async (flags: CommonFlags) =>
      (await import('./commands/instances.ts')).status(context(flags)),
    );
  program
    .command('logs')
    .description('show what happened')
    .option('--lines <n>', 'how many of the last lines', positiveInteger, 200)
    .option(...jsonFlag)
    .action(async (flags: CommonFlags & { lines: number }) =>
      (await import('./commands/logs.ts')).logs(context(flags), flags.lines),
    );
}

function addChecks(program: Command, context: MakeContext): void {
  program
    .command('plan')
    .description('show how a model would run, with memory')
    .argument('<model>', modelHelp)
    .option('--context <n>', 'context to plan for', positiveInteger)
    .option('--machines <file>', 'machines that need not exist')
    .option('--precise', '32-bit activations and caches')
    .option(...jsonFlag)
    .action(async (model: string, flags: CommonFlags & EngineFlags & { machines?: string }) =>
      (await import('./commands/plan.ts')).plan(context(flags), model, flags),
    );
  program
    .command('doctor')
    .description('look for what is wrong and say how to mend it')
    .option('--report <file>', 'write the findings to a file, to attach to a report')
    .option(...jsonFlag)
    .action(async (flags: CommonFlags & { report?: string }) =>
      (await import('./commands/doctor.ts')).doctor(context(flags), flags.report ?? null),
    );
  engineOptions(program.command('bench'))
    .description('measure the speed of this machine')
    .argument('[model]', `${modelHelp} (default: the starter model)`)
    .option(...jsonFlag)
    .action(async (model: string | undefined, flags: CommonFlags & EngineFlags) =>
      (await import('./commands/bench.ts')).bench(context(flags), model ?? null, flags),
    );
  engineOptions(program.command('selftest'))
    .description('check known answers')
    .option(...jsonFlag)
    .action(async (flags: CommonFlags & EngineFlags) =>
      (await import('./commands/selftest.ts')).selftest(context(flags), flags),
    );
  splitOptions(engineOptions(program.command('debug')))
    .description('one JSON request a line in, one JSON reply a line out')
    .option('--json', 'as always: what it prints is JSON')
    .action(async (flags: CommonFlags & EngineFlags & SplitFlags) =>
      (await import('./commands/debug.ts')).debug(context(flags), flags),
    );
}

/** Commands of the cluster: named, so that who looks for them is told. */
function addLater(program: Command): void {
  const commands = [
    ['nodes', 'list the nodes of the cluster'],
    ['invite', 'make a code with which another machine joins'],
    ['join', 'join the cluster of another machine'],
    ['leave', 'leave the cluster'],
  ] as const;
  for (const [name, description] of commands) {
    program
      .command(name)
      .description(description)
      .argument('[arguments...]')
      .option(...jsonFlag)
      .action(async () => {
        const { CideryError } = await import('../base/error.ts');
        throw new CideryError('unsupported', `this version runs on one machine: no '${name}' yet`, {
          hint: 'use `cidery start` on this machine',
        });
      });
  }
}
