import { spawn, type ChildProcess } from 'node:child_process';
import { Duplex, type Readable } from 'node:stream';
import { CideryError, invariant } from '../base/error.ts';
import type { ProcessExit, RankProcess, RankSpawner } from '../ports/spawner.ts';

export interface RankCommand {
  /** The script that a rank runs. */
  readonly script: string;
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** Longest line of output that is kept whole. */
  readonly logLineMaxCharacters: number;
}

/**
 * Starts ranks as processes of this Node binary; throws `rank_start_failed` when the system has
 * none to give. Descriptor 3 is the control socket; descriptor 4 is the lifeline, a socket whose
 * other end stays open here and closes with this process, however it ends; the rank gives its signs
 * of life over it.
 */
export function realRankSpawner(command: RankCommand): RankSpawner {
  return { spawn: () => startRank(command) };
}

function startRank(command: RankCommand): RankProcess {
  const child = spawn(process.execPath, [command.script], {
    stdio: ['ignore', 'pipe', 'pipe', 'pipe', 'pipe'],
    env: command.environment,
    // Ctrl-C in a terminal goes to the whole group; the daemon ends its ranks itself, in order.
    detached: true,
  });
  // Without a process it has neither sockets nor an end; a kill that fails is no news either.
  child.on('error', () => {});
  if (child.pid === undefined) {
    throw new CideryError('rank_start_failed', 'the system has no process for the model', {
      hint: 'end other programs: files, processes or memory have run out (`ulimit -a`)',
    });
  }
  const { pid } = child;
  const control = child.stdio[3];
  invariant(control instanceof Duplex, 'the control socket of a rank is a socket');
  // A rank that is gone resets its sockets; its exit tells all there is to tell.
  control.on('error', () => {});
  const lifeline = child.stdio[4];
  invariant(lifeline instanceof Duplex, 'the lifeline of a rank is a socket');
  lifeline.on('error', () => {});
  const exited = exitOf(child);
  return {
    pid,
    send: (bytes) => {
      if (control.writable) control.write(bytes);
    },
    get unsentBytes() {
      return control.writableLength;
    },
    onBytes: (listener) => control.on('data', listener),
    onSign: (listener) => lifeline.on('data', () => listener()),
    onLog: (listener) => {
      for (const stream of [child.stdout, child.stderr]) {
        if (stream !== null) readLines(stream, command.logLineMaxCharacters, listener);
      }
    },
    exited,
    kill: (signal) => {
      if (child.exitCode === null && child.signalCode === null) child.kill(signal);
    },
  };
}

/** The end of the process, told after everything that it sent has been read. */
function exitOf(child: ChildProcess): Promise<ProcessExit> {
  return new Promise((resolve) => {
    child.once('close', (code, signal) => resolve({ code, signal }));
  });
}

function readLines(stream: Readable, max: number, listener: (line: string) => void): void {
  let rest = '';
  stream.setEncoding('utf8');
  stream.on('data', (text: string) => {
    const lines = (rest + text).split('\n');
    rest = (lines.pop() ?? '').slice(0, max);
    for (const line of lines) if (line !== '') listener(line.slice(0, max));
  });
  stream.on('end', () => {
    if (rest !== '') listener(rest);
  });
}
