import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CideryError } from '../base/error.ts';
import type { Config } from './config.ts';
import { buildModel } from './model.ts';
import { operations } from './operations.ts';
import { encodeProgram } from './program-encoding.ts';
import type { Columns, Operation, Program } from './program.ts';
import { smallConfigs, tensorsFor } from './testing.ts';

/** What the addon's checker asks of a program, as far as sizes and numbers go. */
function flaws(program: Program): string[] {
  const used = new Set<number>();
  const found: string[] = [];
  for (const operation of program.operations) {
    for (const [name, kind] of Object.entries(operations[operation.kind].fields)) {
      const fields: Record<string, Columns | number | null> = operation.fields;
      const value = fields[name] ?? null;
      if (kind.toLowerCase().endsWith('parameter') && typeof value === 'number') used.add(value);
      if (!fits(program, value)) found.push(`${operation.kind}.${name}: ${JSON.stringify(value)}`);
    }
    found.push(...shapeFlaws(program, operation));
  }
  if (used.size !== program.parameters.length) found.push('a parameter is not used');
  return found;
}

function fits(program: Program, value: Columns | number | null): boolean {
  if (value === null) return true;
  if (typeof value === 'number') return Number.isFinite(Math.fround(value));
  const { buffer, column, width } = value;
  return width > 0 && column + width <= (program.buffers[buffer]?.width ?? 0);
}

function shapeFlaws(program: Program, operation: Operation): string[] {
  if (operation.kind !== 'linear') return [];
  const { weight, out, in: input } = operation.fields;
  const shape = program.parameters[weight]?.shape ?? [];
  const fitting = shape[0] === out.width && shape[1] === input.width;
  return fitting ? [] : [`linear ${program.parameters[weight]?.path}`];
}

const anyConfig = fc.constantFrom<Config>(...Object.values(smallConfigs));
const anyValue = fc.oneof(
  fc.constantFrom<unknown>(0, -1, 1, 2, 3, 7, 1.5, 1e-300, 1e300, 2 ** 31, 2 ** 53, null, true),
  fc.constantFrom<unknown>('', 'linear', 'yarn', 'llama3', 'dynamic', 'longrope', '__proto__'),
  fc.jsonValue({ maxDepth: 2 }),
);
const knownKeys = [
  ...new Set(Object.values(smallConfigs).flatMap((config) => Object.keys(config))),
  ...['rope_theta', 'rope_scaling', 'rope_parameters', 'quantization', 'quantization_config'],
  ...['layer_types', 'attn_logit_softcapping', 'query_pre_attn_scalar', '__proto__'],
];
const ropeScaling = fc.record({
  type: fc.constantFrom('linear', 'yarn', 'llama3', 'dynamic', 'longrope', 'mrope', 'none'),
  factor: anyValue,
  long_factor: anyValue,
  original_max_position_embeddings: anyValue,
  beta_fast: anyValue,
  beta_slow: anyValue,
  mscale_all_dim: anyValue,
  low_freq_factor: anyValue,
});
const anyChange = fc.oneof(
  fc.tuple(fc.constantFrom(...knownKeys), anyValue),
  fc.tuple(fc.constantFrom('rope_scaling', 'rope_parameters'), ropeScaling),
);

describe('buildModel', () => {
  it('answers any config with a sound program or a coded error', () => {
    const property = fc.property(
      anyConfig,
      fc.array(anyChange, { minLength: 1, maxLength: 3 }),
      (config, changes) => {
        const changed = { ...config, ...Object.fromEntries(changes) };
        let program: Program;
        try {
          program = buildModel({ config: changed }).program;
        } catch (error) {
          if (!(error instanceof CideryError)) throw error;
          expect(error.code).toMatch(/^model_/);
          return;
        }
        expect(flaws(program)).toEqual([]);
        encodeProgram(program);
      },
    );
    fc.assert(property, { numRuns: 2000 });
  });

  it('answers any tensors with a coded error', () => {
    const property = fc.property(
      anyConfig,
      fc.nat(),
      fc.record({
        name: fc.oneof(
          fc.string(),
          fc.constant('model.norm.scales'),
          fc.constant('lm_head.weight'),
        ),
        shape: fc.array(fc.nat(), { maxLength: 4 }),
        format: fc.constantFrom('F32', 'U32', 'U8', 'Q4_K', 'I64'),
      }),
      (config, at, change) => {
        const tensors = tensorsFor(config);
        const index = at % tensors.length;
        const entry = tensors[index];
        if (entry === undefined) return;
        tensors[index] = { ...entry, ...change };
        expect(() => buildModel({ config, tensors })).toThrow(CideryError);
      },
    );
    fc.assert(property, { numRuns: 500 });
  });
});
