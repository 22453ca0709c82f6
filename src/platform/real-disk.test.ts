import { execFileSync } from 'node:child_process';
import {
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  readlink,
  rm,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { limits } from '../base/limits.ts';
import { tryFileLock } from './file-lock.ts';
import { realClock } from './real-clock.ts';
import { runCommand } from './real-command.ts';
import { realDisk } from './real-disk.ts';

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'cidery-real-'));
});

afterEach(async () => {
  await rm(folder, { recursive: true });
});

const at = (...names: string[]): string => join(folder, ...names);

test('a file is written at any offset and read back, short only at its end', async () => {
  const out = await realDisk.openForWriting(at('f'));
  await out.write(3, Buffer.from('def'));
  await out.write(0, Buffer.from('abc'));
  await out.truncate(5);
  await out.sync();
  await out.close();
  const file = await realDisk.open(at('f'));
  expect(file.sizeBytes).toBe(5);
  expect(Buffer.from(await file.read(1, 2 ** 50)).toString()).toBe('bcde');
  expect((await file.read(9, 4)).length).toBe(0);
  await file.close();
  expect(await realDisk.readText(at('f'), 5)).toBe('abcde');
  await expect(realDisk.readText(at('f'), 4)).rejects.toMatchObject({ code: 'file_too_large' });
});

test('opening for writing keeps what is there', async () => {
  await writeFile(at('f'), 'abcdef');
  const out = await realDisk.openForWriting(at('f'));
  await out.write(1, Buffer.from('X'));
  await out.close();
  expect(await readFile(at('f'), 'utf8')).toBe('aXcdef');
});

test('an atomic write leaves only the file', async () => {
  await realDisk.writeTextAtomically(at('f'), 'one');
  await realDisk.writeTextAtomically(at('f'), 'two');
  expect(await readdir(folder)).toEqual(['f']);
  expect(await readFile(at('f'), 'utf8')).toBe('two');
  await mkdir(at('d', 'x'), { recursive: true });
  await expect(realDisk.writeTextAtomically(at('d'), 'x')).rejects.toMatchObject({
    code: 'disk_failed',
  });
  expect(await readdir(folder)).toEqual(['d', 'f']);
});

test('facts follow links; what is no file or folder is nothing', async () => {
  await writeFile(at('f'), 'abc');
  await symlink('f', at('link'));
  await symlink('loop', at('loop'));
  execFileSync('sh', ['-c', 'mkfifo "$0"', at('pipe')]);
  expect(await realDisk.facts(at('link'))).toMatchObject({ kind: 'file', sizeBytes: 3 });
  expect(await realDisk.facts(folder)).toMatchObject({ kind: 'folder' });
  for (const name of ['none', 'f/below', 'loop', 'pipe']) {
    expect(await realDisk.facts(at(name))).toBe(null);
  }
  await expect(realDisk.open(at('pipe'))).rejects.toMatchObject({ code: 'file_not_regular' });
  await expect(realDisk.open(folder)).rejects.toMatchObject({ code: 'file_not_regular' });
  await expect(realDisk.open(at('none'))).rejects.toMatchObject({ code: 'file_missing' });
  await expect(realDisk.list(at('none'))).resolves.toEqual([]);
});

test('a link replaces a link, and removing it keeps what it leads to', async () => {
  await mkdir(at('d'));
  await writeFile(at('d', 'f'), 'abc');
  await realDisk.link('nowhere', at('link'));
  await realDisk.link('d', at('link'));
  expect(await readlink(at('link'))).toBe('d');
  await realDisk.remove(at('link'));
  expect(await readdir(at('d'))).toEqual(['f']);
  await realDisk.remove(at('d'));
  await realDisk.remove(at('d'));
  expect(await readdir(folder)).toEqual([]);
});

test('free space is that of the nearest parent', async () => {
  expect(await realDisk.freeBytes(at('not', 'there', 'yet'))).toBeGreaterThan(0);
});

test('a lock is held by one, until it is released', async () => {
  const all = await Promise.all(Array.from({ length: 20 }, () => tryFileLock(at('lock'))));
  const held = all.filter((lock) => lock !== null);
  expect(held.length).toBe(1);
  expect(await tryFileLock(at('lock'))).toBe(null);
  await held[0]?.release();
  const next = await tryFileLock(at('lock'));
  expect(next).not.toBe(null);
  await next?.release();
  expect(await readdir(folder)).toEqual([]);
});

test('the lock of a process that is gone is taken over, by one', async () => {
  const script = 'process.stdout.write(process.pid + "\\n" + require("os").hostname() + "\\nn\\n")';
  await writeFile(at('lock'), execFileSync(process.execPath, ['-e', script]));
  const all = await Promise.all(Array.from({ length: 20 }, () => tryFileLock(at('lock'))));
  expect(all.filter((lock) => lock !== null).length).toBe(1);
  for (const lock of all) await lock?.release();
});

test('the lock of another machine is left alone until it has long been silent', async () => {
  await writeFile(at('lock'), '1\nanother-machine\nn\n');
  expect(await tryFileLock(at('lock'))).toBe(null);
  const seconds = String(limits.fileLockStaleMs / 1000 + 60);
  execFileSync('touch', ['-d', `-${seconds} seconds`, at('lock')]);
  const lock = await tryFileLock(at('lock'));
  expect(lock).not.toBe(null);
  await lock?.release();
});

test('a lock in a folder that is not there is an error', async () => {
  await expect(tryFileLock(at('none', 'lock'))).rejects.toMatchObject({ code: 'file_missing' });
});

test('a command gives its status and the end of its output', async () => {
  const script = 'for(let i=0;i<20000;i++)console.log(i); console.error("end"); process.exitCode=3';
  const options = { outputMaxBytes: 100 };
  const result = await runCommand(process.execPath, ['-e', script], options);
  expect(result.status).toBe(3);
  expect(result.output.length).toBeLessThanOrEqual(100);
  expect(result.output).toContain('19999');
  await expect(runCommand('no-such-program', [], options)).rejects.toMatchObject({
    code: 'command_missing',
  });
});

test('an abort ends a command with what it started', async () => {
  const controller = new AbortController();
  const reason = new Error('enough');
  const script = `while :; do echo >> ${at('beat')}; sleep 0.02; done & wait`;
  const running = runCommand('sh', ['-c', script], {
    outputMaxBytes: 100,
    signal: controller.signal,
  });
  while ((await realDisk.facts(at('beat'))) === null) await realClock.sleep(5);
  controller.abort(reason);
  await expect(running).rejects.toBe(reason);
  const beats = await realDisk.facts(at('beat'));
  await realClock.sleep(200);
  expect(await realDisk.facts(at('beat'))).toEqual(beats);
});

test('a sleep ends with its signal', async () => {
  const controller = new AbortController();
  const reason = new Error('enough');
  const sleeping = realClock.sleep(60_000, controller.signal);
  controller.abort(reason);
  await expect(sleeping).rejects.toBe(reason);
  await expect(realClock.sleep(60_000, controller.signal)).rejects.toBe(reason);
});

test('a folder is made with those above it, or refused at once', async () => {
  await realDisk.makeFolder(at('a', 'b', 'c'));
  await realDisk.makeFolder(at('a', 'b', 'c'));
  expect(await readdir(at('a', 'b'))).toEqual(['c']);
  await writeFile(at('file'), '');
  await expect(realDisk.makeFolder(at('file', 'below'))).rejects.toMatchObject({
    code: 'disk_failed',
  });
  await expect(realDisk.makeFolder(at('file'))).rejects.toMatchObject({ code: 'disk_failed' });
});

// Skipped: only Linux has /proc, where nothing can be made and mkdir says that the parent lacks.
test.skipIf(process.platform !== 'linux')('a folder below /proc is refused at once', async () => {
  await expect(realDisk.makeFolder('/proc/cidery/home')).rejects.toMatchObject({
    code: 'file_missing',
  });
});
