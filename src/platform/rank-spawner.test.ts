import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import type { ProcessExit, RankProcess } from '../ports/spawner.ts';
import { realRankSpawner } from './rank-spawner.ts';

const folder = mkdtempSync(join(tmpdir(), 'cidery-spawner-'));
afterAll(() => rmSync(folder, { recursive: true }));
const logLineMaxCharacters = 20;
/** What every script begins with: the control socket. */
const control = `const { Socket } = require('node:net');
  const control = new Socket({ fd: 3, readable: true, writable: true });`;
let scripts = 0;

interface Seen {
  readonly rank: RankProcess;
  readonly log: string[];
  readonly text: () => string;
  /** Resolves when the text from the rank has reached this length. */
  readonly length: (characters: number) => Promise<void>;
}

function start(source: string, environment: Record<string, string> = {}): Seen {
  const script = join(folder, `rank-${++scripts}.cjs`);
  writeFileSync(script, source);
  const rank = realRankSpawner({ script, environment, logLineMaxCharacters }).spawn();
  const [log, parts]: [string[], Uint8Array[]] = [[], []];
  let onMore = () => {};
  rank.onLog((line) => log.push(line));
  rank.onBytes((bytes) => {
    parts.push(bytes);
    onMore();
  });
  const text = () => Buffer.concat(parts).toString();
  return {
    rank,
    log,
    text,
    async length(characters) {
      while (text().length < characters) await new Promise<void>((resolve) => (onMore = resolve));
    },
  };
}

async function ended(rank: RankProcess): Promise<ProcessExit> {
  return rank.exited;
}

describe('a rank’s process', () => {
  test('has a control socket both ways', async () => {
    const { rank, text, length } = start(`${control} control.on('data', (b) => {
      control.write(b.toString().toUpperCase()); });`);
    rank.send(new TextEncoder().encode('hello'));
    await length(5);
    expect(text()).toBe('HELLO');
    rank.kill('SIGTERM');
    expect(await ended(rank)).toEqual({ code: null, signal: 'SIGTERM' });
  });

  test('has the environment that was given, and nothing else', async () => {
    const { rank, text } = start(
      `${control} control.end(JSON.stringify(process.env), () => process.exit(3));`,
      { ONLY: 'this' },
    );
    expect(await ended(rank)).toEqual({ code: 3, signal: null });
    expect(JSON.parse(text())).toEqual({ ONLY: 'this' });
  });

  test('ends after all that it said has been read', async () => {
    const { rank, text } = start(`${control}
      control.end('x'.repeat(5_000_000), () => process.exit(0));`);
    await ended(rank);
    expect(text().length).toBe(5_000_000);
  });

  test('brings its lines, long ones cut, the last one without its end', async () => {
    const { rank, log } = start(`console.log('one\\n\\ntwo'); console.error('three');
      console.log('y'.repeat(1_000_000)); process.stdout.write('rest');`);
    await ended(rank);
    expect(log.toSorted()).toEqual(['one', 'rest', 'three', 'two', 'y'.repeat(20)]);
  });

  test('counts what it does not read, and takes nothing once it has ended', async () => {
    const { rank } = start('setInterval(() => {}, 1000);');
    const bytes = new Uint8Array(10_000_000);
    rank.send(bytes);
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(rank.unsentBytes).toBeGreaterThan(5_000_000);
    rank.kill('SIGKILL');
    expect(await ended(rank)).toEqual({ code: null, signal: 'SIGKILL' });
    rank.send(bytes);
    rank.kill('SIGTERM');
    expect(await ended(rank)).toEqual({ code: null, signal: 'SIGKILL' });
  });

  test('has a lifeline that stays open as long as this process', async () => {
    const { rank, text, length } = start(`${control}
      const lifeline = new Socket({ fd: 4, readable: true, writable: false });
      lifeline.on('close', () => control.write('closed')); lifeline.resume();
      control.write('watching'); setTimeout(() => control.write('.'), 300);`);
    await length(9);
    expect(text()).toBe('watching.');
    rank.kill('SIGKILL');
    await ended(rank);
  });

  test('that closes its sockets and goes on can still be ended', async () => {
    const { rank, log } = start(`const fs = require('node:fs'); fs.closeSync(3); fs.closeSync(4);
      console.log('closed'); setInterval(() => {}, 1000);`);
    while (log.length === 0) await new Promise((resolve) => setTimeout(resolve, 10));
    rank.send(new Uint8Array(100));
    rank.kill('SIGKILL');
    expect(await ended(rank)).toEqual({ code: null, signal: 'SIGKILL' });
  });
});

test('a system that starts no process is a coded error, and nothing else', async () => {
  const { execPath } = process;
  process.execPath = join(folder, 'no-such-node');
  try {
    expect(() => start('')).toThrow(expect.objectContaining({ code: 'rank_start_failed' }));
    // What the system says of it comes later, and must not end this process.
    await new Promise((resolve) => setTimeout(resolve, 50));
  } finally {
    process.execPath = execPath;
  }
});

test('a script that is not there ends with the reason in the log', async () => {
  const spawner = realRankSpawner({
    script: join(folder, 'none.cjs'),
    environment: {},
    logLineMaxCharacters: 200,
  });
  const rank = spawner.spawn();
  const log: string[] = [];
  rank.onLog((line) => log.push(line));
  expect(await ended(rank)).toEqual({ code: 1, signal: null });
  expect(log.join('\n')).toContain('Cannot find module');
});
