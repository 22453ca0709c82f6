import { writeFile } from 'node:fs/promises';
import { Socket } from 'node:net';
import { faultOf } from '../base/error.ts';
import { JsonLines, jsonLine } from '../base/lines.ts';
import { limits } from '../base/limits.ts';
import { loadAddon } from './load-addon.ts';
import {
  controlDescriptor,
  type FromRank,
  lifelineDescriptor,
  orphanExitCode,
} from './protocol.ts';
import { Rank } from './rank.ts';
import { openRequestText } from './request-text.ts';
import { runTextOperation } from './text-operations.ts';

/** The process of a rank: control socket in, control socket out, and a lifeline to the daemon. */
function main(): void {
  const control = new Socket({ fd: controlDescriptor, readable: true, writable: true });
  const send = (message: FromRank) => {
    // A step brings something to many requests: one write, and one reading at the other end.
    if (control.writableCorked === 0) {
      control.cork();
      process.nextTick(() => control.uncork());
    }
    control.write(jsonLine(message));
  };
  const leave = (exitCode: number) => {
    control.end(() => process.exit(exitCode));
  };
  const fail = (error: unknown) => {
    send({ type: 'failed', fault: faultOf(error) });
    leave(1);
  };
  const rank = new Rank({
    clock: { monotonic: () => performance.now() },
    send,
    loadAddon,
    openText: (manifest) => openRequestText(manifest.text),
    runTextOperation,
    writeFile: (path, bytes) => writeFile(path, bytes),
    leave,
  });
  const lines = new JsonLines(limits.rankLineMaxBytes);
  control.on('data', (bytes) => {
    try {
      for (const value of lines.push(bytes)) rank.receive(value);
    } catch (error) {
      fail(error);
    }
  });
  // The daemon is gone or wants nothing more.
  control.on('close', () => process.exit(orphanExitCode));
  control.on('error', () => process.exit(orphanExitCode));
  process.on('uncaughtException', fail);
  process.on('unhandledRejection', fail);
  try {
    loadAddon('cpu').watchLifeline(lifelineDescriptor, orphanExitCode);
  } catch (error) {
    return fail(error);
  }
  send({ type: 'hello', protocol: 1, pid: process.pid });
}

main();
