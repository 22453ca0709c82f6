import { once } from 'node:events';
import { connect } from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { type CompiledChild, compileChild } from '../../test/support/compile-child.ts';
import { RankProcess } from '../../test/support/rank-process.ts';
import { RankTeam, type TeamOptions, tinyManifest } from '../../test/support/rank-team.ts';
import { rejection } from '../../test/support/rejection.ts';
import type { ModelManifest } from '../model/manifest.ts';
import { buildModel } from '../model/model.ts';
import { encodeProgram } from '../model/program-encoding.ts';
import type { PlannedSequence, StepResult } from './step-plan.ts';

/** Short enough for tests, and many times what a loaded machine pauses a process for. */
const silenceMs = 1_500;
const options: TeamOptions = { executor: 'cpu', precise: true, split: 'tensor', silenceMs };
let child: CompiledChild;
let manifest: ModelManifest;
let processes: RankProcess[] = [];

beforeAll(async () => {
  child = await compileChild('test/support/rank-child.ts');
  manifest = await tinyManifest('llama');
});
afterAll(() => child.remove());
afterEach(async () => {
  await Promise.all(processes.map((process) => process.end()));
  processes = [];
});

function start(count: number): RankProcess[] {
  processes = Array.from({ length: count }, () => new RankProcess(child, 'cpu'));
  return processes;
}

async function openTeam(ranks: number, changes: Partial<TeamOptions> = {}) {
  const team = await RankTeam.open(start(ranks), manifest, { ...options, ...changes });
  return { team, followed: team.follow() };
}

const logitsOf = (slot: number, length = 4): PlannedSequence => ({
  slot,
  firstPosition: 0,
  tokens: Array.from({ length }, (_, at) => 1 + (at % 100)),
  want: { kind: 'logits', rows: 1 },
});
const codeOf = async (promise: Promise<unknown> | undefined) =>
  (await rejection(promise ?? Promise.resolve())).code;
const hasLogits = ({ sequences }: StepResult) => sequences[0]?.logits.some((value) => value !== 0);

/** Steps until one fails; its code. */
async function stepsUntilFailure(team: RankTeam, slot = 0): Promise<string> {
  for (;;) {
    const failed = await team.step([logitsOf(slot)]).then(
      () => null,
      (error: unknown) => error,
    );
    if (failed !== null) return codeOf(Promise.reject(failed));
  }
}

describe('ranks of a group that are lost', () => {
  test.each([
    ['killed', 'SIGKILL', 'group_peer_lost'],
    ['stopped', 'SIGSTOP', 'group_silent'],
  ] as const)('a follower that is %s fails the step that runs', async (_, signal, code) => {
    const { team, followed } = await openTeam(3);
    const failed = stepsUntilFailure(team);
    const others = Promise.all([codeOf(followed[0]), followed[1]?.catch(() => null)]);
    processes[2]?.kill(signal);
    expect(await failed).toBe(code);
    expect(await codeOf(team.step([logitsOf(0)]))).toBe('engine_broken');
    await processes[2]?.end();
    expect((await others)[0]).toBe(code);
  });

  test('a stage that is lost fails the steps that are under way, the oldest first', async () => {
    const { team } = await openTeam(2, { split: 'pipeline' });
    const failed = [0, 1, 2].map((slot) => stepsUntilFailure(team, slot));
    await team.step([logitsOf(3)]);
    processes[1]?.kill('SIGKILL');
    expect(await Promise.race(failed)).toBe('group_peer_lost');
    await Promise.all(failed);
  });

  test('a follower that is lost while nothing runs fails the next step', async () => {
    const { team, followed } = await openTeam(2);
    await team.step([logitsOf(0)]);
    const lost = codeOf(followed[0]);
    await processes[1]?.end();
    expect(await lost).toBe('process_ended');
    expect(await codeOf(team.step([logitsOf(0)]))).toBe('group_peer_lost');
  });

  test.each([
    ['killed', 'SIGKILL', 'group_peer_lost'],
    ['stopped', 'SIGSTOP', 'group_silent'],
  ] as const)('a rank 0 that is %s fails those that follow', async (_, signal, code) => {
    const { team, followed } = await openTeam(3);
    await team.step([logitsOf(0)]);
    processes[0]?.kill(signal);
    expect(await Promise.all(followed.map(codeOf))).toEqual([code, code]);
  });

  test('nothing to do for longer than silence is no silence', async () => {
    const { team, followed } = await openTeam(2);
    await team.step([logitsOf(0)]);
    await new Promise((resolve) => setTimeout(resolve, 2 * silenceMs));
    expect(hasLogits(await team.step([logitsOf(0)]))).toBe(true);
    await team.close(followed);
  });
});

describe('ranks of a group that leave', () => {
  test('rank 0 by closing: those that follow end without an error, and count steps', async () => {
    const { team, followed } = await openTeam(3);
    await team.step([logitsOf(0)]);
    await team.step([], { retired: [0] });
    await processes[0]?.call('closeEngine', team.engine(0));
    await Promise.all(followed);
    expect(await processes[1]?.call('stepsDone', team.engine(1))).toBe(2);
    expect(await codeOf(processes[1]?.call('follow', team.engine(1)))).toBe('engine_broken');
  });

  test('rank 0 by the end of its process', async () => {
    const { team, followed } = await openTeam(2);
    await team.step([logitsOf(0)]);
    await processes[0]?.leave();
    expect(await Promise.all(followed)).toEqual([undefined]);
  });

  test('rank 0 with steps under way: those that run end, those that wait are refused', async () => {
    const { team, followed } = await openTeam(2, { split: 'pipeline' });
    const asked = Array.from({ length: 40 }, (_, slot) => team.step([logitsOf(slot % 8, 200)]));
    const outcomes = asked.map((step) =>
      step.then(hasLogits, (error: unknown) => codeOf(Promise.reject(error))),
    );
    await asked[0];
    await team.close(followed);
    const codes = await Promise.all(outcomes);
    expect(new Set(codes)).toEqual(new Set([true, 'engine_closed']));
    expect(codes.indexOf('engine_closed')).toBe(codes.lastIndexOf(true) + 1);
  });

  test('a follower by closing: its follow says so, and the next step fails', async () => {
    const { team, followed } = await openTeam(2);
    await team.step([logitsOf(0)]);
    const left = codeOf(followed[0]);
    await processes[1]?.call('closeEngine', team.engine(1));
    expect(await left).toBe('engine_closed');
    expect(await codeOf(team.step([logitsOf(0)]))).toBe('group_peer_lost');
  });
});

describe('ranks that meet', () => {
  const failures = async (team: Promise<unknown>) => codeOf(team);

  test('a rank with another key is refused', async () => {
    const key = (rank: number) => new Uint8Array(32).fill(rank);
    const team = RankTeam.open(start(2), manifest, { ...options, key, connectMs: 1_000 });
    expect(await failures(team)).toBe('group_refused');
  });

  test('a rank that never comes is named', async () => {
    const team = RankTeam.open(start(2), manifest, {
      ...options,
      connectMs: 1_000,
      listening: () => processes[1]?.kill('SIGSTOP'),
    });
    await expect(team).rejects.toMatchObject({ code: 'group_connect_failed' });
    await expect(team).rejects.toThrow('rank 1');
  });

  test('ranks that were opened with other settings do not bind', async () => {
    const changes = (rank: number) => ({ slots: 8 + rank });
    const team = RankTeam.open(start(2), manifest, { ...options, changes });
    expect(await failures(team)).toBe('rank_disagrees');
  });

  test('strangers on the port change nothing, and find it closed afterwards', async () => {
    const strangers: ReturnType<typeof connect>[] = [];
    let open: readonly number[] = [];
    const listening = (ports: readonly number[]) => {
      open = ports;
      for (const port of ports) {
        for (let i = 0; i < 20; i++) {
          const socket = connect(port, '127.0.0.1');
          socket.on('error', () => undefined);
          // Half of them say something, the others wait.
          if (i % 2 === 0) socket.write(Buffer.alloc(1 + i * 40, i));
          strangers.push(socket);
        }
      }
    };
    const { team, followed } = await openTeam(3, { listening });
    expect(hasLogits(await team.step([logitsOf(0)]))).toBe(true);
    for (const port of open) {
      const late = connect(port, '127.0.0.1');
      const [error] = await once(late, 'error');
      expect(error).toMatchObject({ code: 'ECONNREFUSED' });
    }
    for (const socket of strangers) socket.destroy();
    await team.close(followed);
  });
});

describe('calls that a rank refuses', () => {
  test('what does not fit the rank, and an invalid plan, after which it goes on', async () => {
    const { team, followed } = await openTeam(2);
    const [leader, follower] = processes;
    expect(await codeOf(leader?.call('follow', team.engine(0)))).toBe('engine_state');
    expect(await codeOf(team.step([{ ...logitsOf(0), firstPosition: 3 }]))).toBe('plan_invalid');
    expect(hasLogits(await team.step([logitsOf(0)]))).toBe(true);
    await team.close(followed);
    expect(await codeOf(follower?.call('stepsDone', team.engine(1)))).toBe('engine_closed');
  });

  test('a part of a model without its group', async () => {
    const [rank] = start(1);
    const split = { kind: 'tensor', rank: 0, ranks: 2, shares: null } as const;
    const { program } = buildModel(manifest, { precise: true, split });
    const engine = await rank?.call('openEngine', {
      program: encodeProgram(program),
      executor: 'cpu',
      gpu: false,
      precise: true,
      slots: 1,
      positions: 16,
      cachePositions: 0,
      threads: 1,
      files: [],
    });
    if (engine === undefined || rank === undefined) throw new Error('no rank');
    expect(await codeOf(rank.call('bind', engine))).toBe('engine_state');
    const { handle, port } = await rank.call('listenGroup', '127.0.0.1');
    const limits = { connectMs: 10, silenceMs, waitMs: 10 };
    const group = { rank: 0, backend: 'tcp', key: new Uint8Array(32), ...limits } as const;
    const address = { host: '127.0.0.1', port };
    const alone = { ...group, addresses: [address] };
    expect(await codeOf(rank.call('joinGroup', engine, handle, alone))).toBe('engine_state');
    const again = { ...group, addresses: [address, address] };
    expect(await codeOf(rank.call('joinGroup', engine, handle, again))).toBe('listener_closed');
    const shortKey = { ...again, key: new Uint8Array(31) };
    expect(await codeOf(rank.call('joinGroup', engine, handle, shortKey))).toBe(
      'arguments_invalid',
    );
    expect(await codeOf(rank.call('listenGroup', 'localhost'))).toBe('group_listen_failed');
    const second = await rank.call('listenGroup', '127.0.0.1');
    await rank.call('closeListener', second.handle);
    expect(await codeOf(rank.call('closeListener', second.handle))).toBe('listener_closed');
  });
});
