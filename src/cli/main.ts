import { setMaxListeners } from 'node:events';
import { CideryError, errorMessage } from '../base/error.ts';
import { errnoOf } from '../platform/disk-error.ts';
import { AlreadyReported, reportError } from './report-error.ts';
import { buildProgram } from './program.ts';

/** The end of a command that was interrupted, as shells know it. */
const interruptedStatus = 130;
/** npm passes on a Ctrl-C that the terminal has sent to this process as well. */
const sameSignalMs = 1_000;

/** Aborts the signal at SIGINT and SIGTERM; a later second one leaves at once. */
function interruption(): AbortSignal {
  const controller = new AbortController();
  // Everything under way listens, such as each row of a batch: many are no leak.
  setMaxListeners(0, controller.signal);
  let firstAt: number | null = null;
  const onSignal = (): void => {
    if (firstAt === null) {
      firstAt = performance.now();
      controller.abort(new CideryError('interrupted', 'interrupted'));
    } else if (performance.now() - firstAt > sameSignalMs) process.exit(interruptedStatus);
  };
  process.on('SIGINT', onSignal);
  process.on('SIGTERM', onSignal);
  return controller.signal;
}

/** Runs the command line; resolves with the exit status. */
async function main(): Promise<number> {
  process.stdout.on('error', (error) => {
    // A reader that has seen enough (`| head`) is no error of ours; a full disk is.
    if (errnoOf(error) === 'EPIPE') process.exit(0);
    process.stderr.write(`cidery: standard output cannot be written: ${error.message}\n`);
    process.exit(1);
  });
  const signal = interruption();
  const program = buildProgram(signal);
  try {
    await program.parseAsync(process.argv);
    return 0;
  } catch (error) {
    if (isCommanderExit(error)) return error.exitCode === 0 ? 0 : 2;
    if (signal.aborted) {
      // The terminal has printed ^C into the line that was being written.
      if (process.stderr.isTTY) process.stderr.write('\n');
      return interruptedStatus;
    }
    if (!(error instanceof AlreadyReported)) reportError(error, process.argv.includes('--json'));
    return 1;
  }
}

function isCommanderExit(error: unknown): error is { exitCode: number } {
  return error instanceof Error && 'exitCode' in error && error.name === 'CommanderError';
}

process.on('uncaughtException', (error) => {
  process.stderr.write(`cidery: bug in cidery: ${error.stack ?? errorMessage(error)}\n`);
  process.exit(1);
});
process.exitCode = await main();
