import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { CideryError } from '../src/base/error.ts';

/** Why packets cannot be dropped here; null where they can. */
export function cutImpossible(): string | null {
  if (process.env['CIDERY_CHAOS_ISOLATED'] !== '1') {
    return 'this process has no network namespace of its own (Linux, root and unshare needed)';
  }
  if (spawnSync('iptables', ['-S', 'INPUT']).status === 0) return null;
  return 'there is no iptables that works: install the package iptables';
}

/**
 * Drops every packet from and to the TCP sockets that a process has now, as a cable that was pulled
 * does: no end is told. Returns what undoes it.
 */
export function cutOff(pid: number): () => void {
  const rules = tcpPorts(pid).flatMap((port) => [
    ['INPUT', '-p', 'tcp', '--sport', `${port}`, '-j', 'DROP'],
    ['INPUT', '-p', 'tcp', '--dport', `${port}`, '-j', 'DROP'],
  ]);
  for (const rule of rules) iptables('-A', rule);
  return () => {
    for (const rule of rules) iptables('-D', rule);
  };
}

function iptables(action: '-A' | '-D', rule: readonly string[]): void {
  const { status, stderr } = spawnSync('iptables', [action, ...rule], { encoding: 'utf8' });
  if (status !== 0) throw new CideryError('chaos_network', `iptables: ${stderr.trim()}`);
}

/** Local ports of a process's TCP sockets (proc(5): the inodes of its descriptors and net/tcp). */
function tcpPorts(pid: number): number[] {
  const inodes = new Set<string>();
  for (const descriptor of readdirSync(`/proc/${pid}/fd`)) {
    const target = linkTarget(`/proc/${pid}/fd/${descriptor}`);
    const inode = /^socket:\[(\d+)\]$/u.exec(target)?.[1];
    if (inode !== undefined) inodes.add(inode);
  }
  const lines = readFileSync(`/proc/${pid}/net/tcp`, 'utf8').trim().split('\n').slice(1);
  const ports = lines.flatMap((line) => {
    const fields = line.trim().split(/\s+/u);
    const port = Number.parseInt(fields[1]?.split(':')[1] ?? '', 16);
    return inodes.has(fields[9] ?? '') && Number.isInteger(port) ? [port] : [];
  });
  return [...new Set(ports)];
}

/** Empty for a descriptor that was closed meanwhile. */
function linkTarget(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return '';
  }
}
