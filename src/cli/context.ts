import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import type { NodeSettings } from '../node/open-node.ts';
import { createOutput, type Output } from './output.ts';

export type Environment = Readonly<Record<string, string | undefined>>;

/** What every command gets. */
export interface CommandContext {
  readonly output: Output;
  readonly environment: Environment;
  /** Absolute path of CIDERY_HOME. */
  readonly home: string;
  /** Aborted with `interrupted` when the user or the system wants the command to end. */
  readonly signal: AbortSignal;
}

/** Flags that decide how an engine runs; `start`, `run`, `debug` and `bench` share them. */
export interface EngineFlags {
  readonly precise?: boolean;
  readonly threads?: number;
  readonly executor?: 'cpu' | 'mlx';
  readonly context?: number;
  readonly kvMemory?: number;
}

/** Flags that split a model; `run` and `debug` share them. */
export interface SplitFlags {
  readonly ranks?: number;
  readonly split?: 'tensor' | 'pipeline' | 'auto';
}

export function commandContext(
  flags: { readonly json?: boolean; readonly home?: string },
  signal: AbortSignal,
): CommandContext {
  const environment: Environment = process.env;
  return {
    output: createOutput(flags.json ?? false, process.stdout, process.stderr),
    environment,
    home: cideryHome(flags.home, environment),
    signal,
  };
}

function cideryHome(flag: string | undefined, environment: Environment): string {
  const named = flag ?? environment['CIDERY_HOME'];
  return named === undefined || named === '' ? join(homedir(), '.cidery') : resolve(named);
}

export function nodeSettings(
  context: CommandContext,
  flags: EngineFlags & SplitFlags,
): NodeSettings {
  return {
    home: context.home,
    environment: context.environment,
    executor: flags.executor ?? null,
    precise: flags.precise ?? false,
    contextLength: flags.context ?? null,
    cacheBytes: flags.kvMemory ?? null,
    threads: flags.threads ?? 0,
    ranks: flags.ranks ?? 1,
    split: flags.split ?? 'auto',
  };
}

/** The key that this machine's node asks for, and that its clients send; null: none. */
export function apiKey(environment: Environment): string | null {
  const key = environment['CIDERY_API_KEY']?.trim();
  return key === undefined || key === '' ? null : key;
}
