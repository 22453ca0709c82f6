import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, test } from 'vitest';
import { blockFormats, plainFormats } from '../model/manifest.ts';
import { buildModel } from '../model/model.ts';
import { none, operations } from '../model/operations.ts';
import { encodeProgram } from '../model/program-encoding.ts';
import { smallConfigs } from '../model/testing.ts';
import type { EngineHandle, EngineOptions } from './addon.ts';
import { loadAddon } from './load-addon.ts';
import {
  decodeResult,
  encodePlan,
  greedySampler,
  type PlannedSequence,
  type Sampler,
} from './step-plan.ts';
import {
  dense,
  modelBytes,
  program,
  sources,
  table,
  tinyOptions,
  vocabulary,
  weight,
  width,
} from './testing-addon.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const addon = loadAddon('mlx');
const folder = mkdtempSync(join(tmpdir(), 'cidery-addon-'));
afterAll(() => rmSync(folder, { recursive: true }));
const modelPath = join(folder, 'model.bin');
writeFileSync(modelPath, modelBytes());
const optionsWith = (changes: Partial<EngineOptions> = {}) => tinyOptions(modelPath, changes);

async function readyEngine(changes: Partial<EngineOptions> = {}): Promise<EngineHandle> {
  const engine = addon.openEngine(optionsWith(changes));
  await addon.loadParameters(engine, sources);
  await addon.bind(engine);
  return engine;
}

function logitsOf(token: number): number[] {
  return Array.from({ length: vocabulary }, (_, row) => {
    const at = (column: number) =>
      (table[token * width + column] ?? 0) * (weight[row * width + column] ?? 0);
    return at(0) + at(1) + at(2);
  });
}

function greedyOf(token: number): number {
  const logits = logitsOf(token);
  return logits.indexOf(Math.max(...logits));
}

const drawn: PlannedSequence['want'] = { kind: 'sample', sampler: greedySampler };

function plan(number: number, sequences: readonly PlannedSequence[]): Uint8Array {
  return encodePlan({ number, retired: [], copies: [], sequences });
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : error;
}

function thrownCode(call: () => unknown): unknown {
  try {
    call();
  } catch (error) {
    return codeOf(error);
  }
  return 'nothing was thrown';
}

const rejectedCode = (promise: Promise<unknown>) => promise.then(() => 'it resolved', codeOf);

describe('twins of C++ tables', () => {
  const kinds: Readonly<Record<string, string>> = {
    OUTPUT: 'output',
    INPUT: 'input',
    OPTIONAL_INPUT: 'optionalInput',
    PARAMETER: 'parameter',
    OPTIONAL_PARAMETER: 'optionalParameter',
    OPTIONAL_ROPE: 'optionalRope',
    U32: 'u32',
    F32: 'f32',
  };
  const camel = (name: string) =>
    name.replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase());

  test('ops.def lists the operations of operations.ts', () => {
    const text = readFileSync(join(root, 'native/program/ops.def'), 'utf8');
    const listed = [...text.matchAll(/^OPERATION\(\w+, (\w+), (\d+),\s(.*?)\)$(?!\n )/gms)].map(
      (line) => {
        const fields = [...(line[3] ?? '').matchAll(/(\w+)\((\w+)\)/g)];
        return [
          line[1],
          Number(line[2]),
          fields.map((field) => [camel(field[2] ?? ''), kinds[field[1] ?? '']]),
        ];
      },
    );
    expect(listed).toEqual(
      Object.entries(operations).map(([name, { code, fields }]) => [
        name,
        code,
        Object.entries(fields),
      ]),
    );
  });

  test('formats.def lists the formats of manifest.ts', () => {
    const text = readFileSync(join(root, 'native/load/formats.def'), 'utf8');
    const listed = [...text.matchAll(/^FORMAT\(\w+, "(\w+)"/gm)].map((line) => line[1]);
    expect(listed).toEqual([...plainFormats, ...blockFormats]);
  });
});

describe('opening', () => {
  test('info names the build', () => {
    expect(addon.info()).toMatchObject({ addon: 'mlx', abi: '3', mlx: '0.32.4' });
  });

  test.each([
    ['not a program', { program: new Uint8Array(16) }, 'program_invalid'],
    ['a cut program', { program: encodeProgram(program).slice(0, -4) }, 'program_invalid'],
    ['a word too many', { program: longer(encodeProgram(program)) }, 'program_invalid'],
    ['an executor that is not there', { executor: 'cpu' }, 'executor_unavailable'],
    ['a file that is not there', { files: [join(folder, 'none')] }, 'model_file_missing'],
    ['a folder for a file', { files: [folder] }, 'model_file_missing'],
    ['no slots', { slots: 0 }, 'arguments_invalid'],
    ['half a slot', { slots: 1.5 }, 'arguments_invalid'],
    ['positions beyond all', { positions: 2 ** 40 }, 'arguments_invalid'],
  ] as const)('%s is refused', (_, changes, code) => {
    expect(thrownCode(() => addon.openEngine(optionsWith(changes)))).toBe(code);
  });

  test('a program that reads what nothing wrote is refused with operation and field', () => {
    const wrong = encodeProgram({ ...program, operations: program.operations.slice(1) });
    expect(() => addon.openEngine(optionsWith({ program: wrong }))).toThrow(
      'operation 0 (select): in reads columns that nothing has written',
    );
  });

  test.each(Object.entries(smallConfigs))('the program of %s is taken', async (_, config) => {
    const bytes = encodeProgram(buildModel({ config }).program);
    await addon.closeEngine(addon.openEngine(optionsWith({ program: bytes })));
  });

  test('an absent parameter is encoded as none', () => {
    const words = new Uint32Array(encodeProgram(program).slice().buffer);
    expect([...words].filter((word) => word === none)).toEqual([none]);
  });
});

function longer(bytes: Uint8Array): Uint8Array {
  const out = new Uint8Array(bytes.length + 4);
  out.set(bytes);
  return out;
}

describe('calls', () => {
  test('a step brings logits and tokens, and the token reaches the next step', async () => {
    const engine = await readyEngine();
    const first = await addon.step(
      engine,
      plan(1, [
        { slot: 2, firstPosition: 0, tokens: [1, 4], want: { kind: 'logits', rows: 2 } },
        { slot: 0, firstPosition: 0, tokens: [3], want: drawn },
      ]),
    );
    const { number, sequences } = decodeResult(first);
    expect(number).toBe(1);
    expect([...(sequences[0]?.logits ?? [])]).toEqual([...logitsOf(1), ...logitsOf(4)]);
    expect(sequences[1]?.token).toBe(greedyOf(3));
    const second = decodeResult(
      await addon.step(
        engine,
        plan(2, [{ slot: 0, firstPosition: 1, tokens: 'lastSample', want: drawn }]),
      ),
    );
    expect(second.sequences[0]?.token).toBe(greedyOf(greedyOf(3)));
    await addon.closeEngine(engine);
  });

  test('a sampler with every field arrives whole', async () => {
    const engine = await readyEngine();
    const best = greedyOf(3);
    const rest = [0, 1, 2, 3, 4].filter((token) => token !== best);
    const [biased = 0] = rest;
    const everything: Sampler = {
      temperature: 1,
      topP: 0.5,
      minP: 0.01,
      topK: 3,
      repetition: 1.5,
      presence: 0.25,
      frequency: 0.125,
      seed: -1n,
      choice: 2,
      promptLength: 1,
      logprobs: 2,
      biases: [{ token: biased, value: 1000 }],
      mask: Uint32Array.of(rest.reduce((mask, token) => mask | (1 << token), 0)),
    };
    const want = { kind: 'sample', sampler: everything } as const;
    const bytes = await addon.step(
      engine,
      plan(1, [{ slot: 1, firstPosition: 0, tokens: [3], want }]),
    );
    const [result] = decodeResult(bytes).sequences;
    const logits = logitsOf(3);
    const norm = Math.log(logits.reduce((sum, logit) => sum + Math.exp(logit), 0));
    expect(result).toMatchObject({ slot: 1, token: biased, finite: true });
    expect(result?.logprob).toBeCloseTo((logits[biased] ?? 0) - norm, 4);
    expect(result?.alternatives.map(({ token }) => token)).toEqual(
      [0, 1, 2, 3, 4].toSorted((a, b) => (logits[b] ?? 0) - (logits[a] ?? 0)).slice(0, 2),
    );
    await addon.closeEngine(engine);
  });

  test('memory counts weights and goes back to nothing', async () => {
    const engine = await readyEngine();
    expect(addon.memory(engine).weightBytes).toBeGreaterThanOrEqual(2 * vocabulary * width * 4);
    await addon.closeEngine(engine);
    expect(thrownCode(() => addon.memory(engine))).toBe('engine_closed');
  });

  test('a wrong plan is refused and changes nothing', async () => {
    const engine = await readyEngine();
    const gap = plan(1, [{ slot: 0, firstPosition: 1, tokens: [1], want: drawn }]);
    expect(await rejectedCode(addon.step(engine, gap))).toBe('plan_invalid');
    const right = plan(2, [{ slot: 0, firstPosition: 0, tokens: [1], want: drawn }]);
    expect(decodeResult(await addon.step(engine, right)).sequences[0]?.token).toBe(greedyOf(1));
    await addon.closeEngine(engine);
  });

  test('calls in the wrong order are refused', async () => {
    const engine = addon.openEngine(optionsWith());
    expect(await rejectedCode(addon.step(engine, plan(1, [])))).toBe('engine_state');
    expect(await rejectedCode(addon.bind(engine))).toBe('parameter_missing');
    expect(await rejectedCode(addon.loadParameters(engine, [{ parameter: 9, parts: [] }]))).toBe(
      'arguments_invalid',
    );
    await addon.loadParameters(engine, sources);
    await addon.bind(engine);
    expect(await rejectedCode(addon.loadParameters(engine, sources))).toBe('engine_state');
    await addon.closeEngine(engine);
  });

  test('a tensor that reaches beyond its file is refused', async () => {
    const engine = addon.openEngine(optionsWith());
    const beyond = [{ parameter: 1, parts: [dense(vocabulary * width * 4 + 4)] }];
    expect(await rejectedCode(addon.loadParameters(engine, beyond))).toBe('model_file_broken');
    await addon.closeEngine(engine);
  });

  test('closing rejects what waits, and a closed handle stays closed', async () => {
    // Long steps, so that most still wait when the engine is closed.
    const positions = 1 << 17;
    const engine = await readyEngine({ positions });
    const tokens = Array.from({ length: positions }, () => 1);
    const next = plan(1, [{ slot: 0, firstPosition: 0, tokens, want: drawn }]);
    const settled: string[] = [];
    const calls = Array.from({ length: 40 }, () =>
      addon.step(engine, next).then(
        () => settled.push('ran'),
        (error: unknown) => settled.push(String(codeOf(error))),
      ),
    );
    const closing = addon.closeEngine(engine).then(() => settled.push('freed'));
    expect(thrownCode(() => addon.memory(engine))).toBe('engine_closed');
    expect(await rejectedCode(addon.step(engine, next))).toBe('engine_closed');
    await Promise.all([...calls, closing]);
    expect(settled).toHaveLength(41);
    expect(settled.at(-1)).toBe('freed');
    expect(settled).toContain('engine_closed');
    const other = addon.openEngine(optionsWith());
    expect(other).not.toBe(engine);
    expect(thrownCode(() => addon.memory(engine))).toBe('engine_closed');
    await addon.closeEngine(other);
  });

  test('a step that has not begun is taken back', async () => {
    // Long steps in front, so that the last one waits.
    const positions = 1 << 17;
    const engine = await readyEngine({ positions });
    expect(addon.takeBackStep(engine)).toBe(false);
    const tokens = Array.from({ length: positions }, () => 1);
    const long = plan(1, [{ slot: 0, firstPosition: 0, tokens, want: drawn }]);
    const last = plan(2, [{ slot: 1, firstPosition: 0, tokens: [1, 2], want: drawn }]);
    const running = Array.from({ length: 20 }, () => addon.step(engine, long));
    const code = rejectedCode(addon.step(engine, last));
    expect(addon.takeBackStep(engine)).toBe(true);
    expect(await code).toBe('step_taken_back');
    // The slot is as it was: a plan of its first position is right.
    const instead = plan(2, [{ slot: 1, firstPosition: 0, tokens: [2], want: drawn }]);
    const result = decodeResult(await addon.step(engine, instead));
    expect(result.sequences[0]?.token).toBe(greedyOf(2));
    await Promise.all(running);
    expect([addon.takeBackStep(engine), addon.stepsDone(engine)]).toEqual([false, 21]);
    const closed = addon.closeEngine(engine);
    expect(thrownCode(() => addon.takeBackStep(engine))).toBe('engine_closed');
    await closed;
  });

  test('too many waiting calls are refused', async () => {
    const engine = await readyEngine();
    const next = plan(1, [{ slot: 0, firstPosition: 0, tokens: [1], want: drawn }]);
    const outcomes = await Promise.all(
      Array.from({ length: 300 }, () => addon.step(engine, next).then(() => 'ran', codeOf)),
    );
    expect(new Set(outcomes)).toEqual(new Set(['ran', 'engine_busy']));
    await addon.closeEngine(engine);
  });
});

test('a descriptor that is not open is no lifeline', () => {
  expect(thrownCode(() => addon.watchLifeline(9999, 1))).toBe('lifeline_invalid');
  expect(thrownCode(() => addon.watchLifeline(-1, 1))).toBe('arguments_invalid');
});
