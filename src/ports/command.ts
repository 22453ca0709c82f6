/**
 * How a command ended: its exit status (null when a signal ended it) and the end of what it
 * printed.
 */
export interface CommandResult {
  readonly status: number | null;
  readonly output: string;
}

export interface CommandOptions {
  /** Set on top of this process's own environment. */
  readonly environment?: Readonly<Record<string, string>>;
  /** Bytes of output (both streams together) that are kept, counted from the end. */
  readonly outputMaxBytes: number;
  /** Ends the command and everything it started; the call then rejects with the signal's reason. */
  readonly signal?: AbortSignal;
}

/**
 * Runs a program without a shell and waits for its end.
 * Errors: `command_missing` when there is no such program, `command_failed` when it cannot be
 * started.
 */
export type RunCommand = (
  program: string,
  args: readonly string[],
  options: CommandOptions,
) => Promise<CommandResult>;
