import { expect, test } from 'vitest';
import { FakeSpawner } from '../../test/support/fake-ranks.ts';
import { realRankSpawner } from '../platform/rank-spawner.ts';
import { AheadSpawner } from './ahead-spawner.ts';

test('the process that was started ahead is the next one, once', () => {
  const spawner = new FakeSpawner();
  const ahead = new AheadSpawner(spawner);
  ahead.startAhead();
  ahead.startAhead();
  expect(spawner.ranks).toHaveLength(1);
  expect(ahead.spawn()).toBe(spawner.ranks[0]);
  expect(ahead.spawn()).toBe(spawner.ranks[1]);
  expect(spawner.ranks).toHaveLength(2);
});

test('a system without processes says so to whoever needs one', () => {
  const spawner = new FakeSpawner();
  const ahead = new AheadSpawner(spawner);
  spawner.refuses = true;
  ahead.startAhead();
  expect(() => ahead.spawn()).toThrow('spawn EAGAIN');
});

test('a process that nobody asked for is gone after the end, whatever it has said', async () => {
  const script = 'data:text/javascript,console.log("up"); setInterval(() => {}, 1_000);';
  const ahead = new AheadSpawner({
    spawn: () => {
      const command = { environment: process.env, logLineMaxCharacters: 100 };
      return realRankSpawner({ ...command, script: `--import=${script}` }).spawn();
    },
  });
  await ahead.close();
  ahead.startAhead();
  await ahead.close();
  const used = new FakeSpawner();
  const taken = new AheadSpawner(used);
  taken.startAhead();
  taken.spawn();
  await taken.close();
  expect(used.ranks[0]?.signals).toEqual([]);
});
