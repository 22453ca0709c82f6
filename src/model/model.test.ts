import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CideryError } from '../base/error.ts';
import type { Config } from './config.ts';
import { buildModel } from './model.ts';
import { encodeProgram } from './program-encoding.ts';
import type { Program } from './program.ts';
import { programFlaws, smallConfigs, tensorsFor } from './testing.ts';

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
        expect(programFlaws(program)).toEqual([]);
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
