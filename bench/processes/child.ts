import { type ChildProcess, spawn } from 'node:child_process';

export interface Command {
  readonly program: string;
  readonly args: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
}

const running = new Set<ChildProcess>();
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

/** Starts a program with pipes for its standard streams; it does not outlive this process. */
export function startChild({ program, args, environment }: Command) {
  const child = spawn(program, args, { env: { ...process.env, ...environment } });
  running.add(child);
  child.once('close', () => running.delete(child));
  child.once('error', () => running.delete(child));
  // A process that has gone is told by its end, not by the pipe that breaks.
  child.stdin.on('error', () => undefined);
  return child;
}
