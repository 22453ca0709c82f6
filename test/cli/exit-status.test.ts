import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { modelPlansSchema } from '../../src/node/cluster-state.ts';
import { CliSandbox, onlyValue } from '../support/cli.ts';
import { tinyModels } from '../support/rank-session.ts';

let sandbox: CliSandbox;

beforeAll(async () => {
  sandbox = await CliSandbox.open();
});
afterAll(() => sandbox.close());

describe('wrong use ends with 2 and says nothing on standard output', () => {
  test.each([
    [[]],
    [['frobnicate']],
    [['run']],
    [['pull']],
    [['stop']],
    [['models', 'extra']],
    [['start', '--port', '70000']],
    [['start', '--port', 'x']],
    [['start', '--executor', 'abacus']],
    [['start', '--kv-memory', '1parsec']],
    [['run', 'm', 'p', '--temperature', '3']],
    [['run', 'm', 'p', '--temperature', '']],
    [['run', 'm', 'p', '--top-p', '-1']],
    [['run', 'm', 'p', '--seed', 'x']],
    [['run', 'm', 'p', '--max-tokens', '0']],
    [['run', 'm', 'p', '--ranks', '1.5']],
    [['run', 'm', 'p', '--split', 'sideways']],
    [['run', 'm', 'p', '--split', 'tensor']],
    [['run', 'm', '--json']],
    [['run', 'm', '--raw']],
    [['run', 'm', 'p', '--raw', '--system', 's']],
    [['debug', '--ranks', '0']],
    [['run', 'm', 'p', '--no-such-flag']],
    [['debug', '--threads', '-1']],
  ])('%j', async (args) => {
    const { status, stdout, stderr } = await sandbox.run(args);
    expect([status, stdout]).toEqual([2, '']);
    expect(stderr).not.toBe('');
  });
});

describe('help and version end with 0', () => {
  test.each([[['--help']], [['help']], [['run', '--help']], [['--version']]])(
    '%j',
    async (args) => {
      const { status, stdout, stderr } = await sandbox.run(args);
      expect([status, stderr]).toEqual([0, '']);
      expect(stdout).not.toBe('');
    },
  );
});

describe('what cannot be done ends with 1 and one line that says what to do', () => {
  test.each<[string[], string]>([
    [['nodes'], 'unsupported'],
    [['invite'], 'unsupported'],
    [['join', 'CODE', 'address'], 'unsupported'],
    [['leave'], 'unsupported'],
    [['run', 'no-such-model', 'p'], 'model_not_found'],
    [['run', './nowhere', 'p'], 'model_not_found'],
    [['run', 'org/name', 'p'], 'offline'],
    [['pull', 'a b'], 'model_reference_malformed'],
    [['pull', 'org/name'], 'offline'],
    [['rm', 'org/name'], 'model_not_found'],
    [['rm', '/etc/passwd'], 'model_not_found'],
    [['plan', 'no-such-model'], 'model_not_found'],
    [['plan', 'm', '--machines', 'file'], 'unsupported'],
    [['bench', 'no-such-model'], 'model_not_found'],
    [['stop', 'deployment-x'], 'node_not_running'],
    [['start', '--host', '0.0.0.0'], 'key_missing'],
    [['start', '--port', '0', '--host', '192.0.2.1'], 'key_missing'],
  ])('%j', async (args, code) => {
    const { status, stdout, stderr } = await sandbox.run([...args, '--json']);
    expect(status).toBe(1);
    expect(stderr).toMatch(/^cidery: [^\n]+; [^\n]+\n$/);
    expect(onlyValue(stdout)).toMatchObject({ error: { code } });
  });

  test('a home that cannot be written to', async () => {
    const environment = { CIDERY_HOME: '/dev/null/home' };
    const { status, stderr } = await sandbox.run(['start', '--port', '0'], { environment });
    expect(status).toBe(1);
    expect(stderr).toMatch(/^cidery: [^\n]*\/dev\/null\/home[^\n]+\n$/);
  });

  test('a setting that means nothing', async () => {
    const environment = { CIDERY_EXECUTOR: 'abacus' };
    const { status, stderr } = await sandbox.run(['bench'], { environment });
    expect([status, stderr]).toEqual([
      1,
      "cidery: CIDERY_EXECUTOR is 'abacus'; set it to cpu or mlx\n",
    ]);
  });
});

test.each(['1999', '3 s', '2000.5'])('a silence of %j is refused', async (silence) => {
  const environment = { CIDERY_SILENCE_MS: silence };
  const { status, stderr } = await sandbox.run(['bench'], { environment });
  expect([status, stderr]).toEqual([
    1,
    `cidery: CIDERY_SILENCE_MS is '${silence}'; set it to whole milliseconds from 2000 to 600000\n`,
  ]);
});

test.each(['ring', 'mlx', '1'])('ranks that talk through %j are refused', async (group) => {
  const { status, stderr } = await sandbox.run(['bench'], { environment: { CIDERY_GROUP: group } });
  expect([status, stderr]).toEqual([
    1,
    `cidery: CIDERY_GROUP is '${group}'; leave it out: ranks then talk sealed, over tcp\n`,
  ]);
});

describe('--json prints one value and nothing else', () => {
  test.each<[string[], z.ZodType]>([
    [['models'], z.strictObject({ models: z.array(z.unknown()).length(0) })],
    [['ps'], z.strictObject({ instances: z.array(z.unknown()).length(0) })],
    [['status'], z.strictObject({ running: z.literal(false) })],
    [['plan', join(tinyModels, 'llama')], modelPlansSchema],
  ])('%j', async (args, schema) => {
    const { status, stdout } = await sandbox.run([...args, '--json']);
    expect(status).toBe(0);
    expect(schema.safeParse(onlyValue(stdout)).error).toBeUndefined();
  });

  test('doctor, which also writes its report', async () => {
    const { stdout } = await sandbox.run(['doctor', '--json', '--report', 'report.json']);
    const schema = z.strictObject({
      ok: z.boolean(),
      version: z.string(),
      checks: z.array(
        z.strictObject({
          name: z.string(),
          result: z.enum(['ok', 'warn', 'fail']),
          detail: z.string(),
          action: z.string().nullable(),
        }),
      ),
    });
    const found = schema.parse(onlyValue(stdout));
    const names = found.checks.map(({ name }) => name);
    expect(names).toEqual(expect.arrayContaining(['Node', 'addon mlx', 'rank process', 'disk']));
    expect(found.checks.find(({ name }) => name === 'rank process')?.result).toBe('ok');
  });
});

describe('interrupted', () => {
  test.each<[string, NodeJS.Signals, string[]]>([
    ['a prompt that is being read', 'SIGINT', ['run', 'm', '-']],
    ['a debug session', 'SIGTERM', ['debug']],
  ])('%s ends with 130', async (_name, signal, args) => {
    const started = sandbox.start(args);
    if (args[0] === 'debug') {
      started.process.stdin.write('{"op":"none"}\n');
      await started.line();
    } else await new Promise((resolve) => setTimeout(resolve, 1_500));
    started.process.kill(signal);
    expect((await started.result).status).toBe(130);
  });
});

test('what a rank fails by is told with what to do, from the addon to the last line', async () => {
  const model = join(tinyModels, 'llama');
  const environment = { CIDERY_ISA: 'abacus' };
  const args = ['run', model, 'p', '--raw', '--executor', 'cpu'];
  const { status, stderr } = await sandbox.run(args, { environment });
  expect([status, stderr]).toEqual([
    1,
    expect.stringMatching(
      /no instruction set "abacus"; possible: .+; set CIDERY_ISA to one of these, or .+\n$/,
    ),
  ]);
});

test('a plan for a longer context than the model has names both', async () => {
  const args = ['plan', join(tinyModels, 'llama'), '--context', '1000000'];
  const { status, stdout, stderr } = await sandbox.run(args);
  expect([status, stdout, stderr]).toEqual([
    1,
    '',
    expect.stringMatching(
      /^cidery: \S+ has a context of at most (\d+) tokens, not 1000000; ask for \1 or fewer, .+\n$/,
    ),
  ]);
});
