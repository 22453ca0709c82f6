import { randomBytes as nodeRandomBytes, randomUUID } from 'node:crypto';
import { hostname, totalmem, availableParallelism } from 'node:os';
import { arch, availableMemory, platform } from 'node:process';

/**
 * Facts of this machine; memory is what the operating system (and a container's limit) lets a
 * process have.
 */
export interface MachineFacts {
  readonly name: string;
  readonly platform: string;
  readonly cores: number;
  readonly totalMemoryBytes: number;
  freeMemoryBytes(): number;
}

export function machineFacts(): MachineFacts {
  return {
    name: hostname(),
    platform: `${platform}-${arch}`,
    cores: availableParallelism(),
    totalMemoryBytes: totalmem(),
    freeMemoryBytes: () => availableMemory(),
  };
}

/** Bytes that nobody can guess. */
export function randomBytes(count: number): Uint8Array {
  return nodeRandomBytes(count);
}

/** 96 random bits as text for ids. */
export function randomId(): string {
  return randomUUID().replaceAll('-', '').slice(0, 24);
}

/** A random unsigned 64-bit number in decimal digits. */
export function randomSeed(): string {
  return BigInt(`0x${randomUUID().replaceAll('-', '').slice(0, 16)}`).toString();
}
