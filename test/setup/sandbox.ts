import { execFileSync } from 'node:child_process';
import { chmodSync, cpSync, mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { createContext } from '../../scripts/setup/main.mjs';

export const projectRoot = resolve(import.meta.dirname, '../..');

const moduleSource = `#include <node_api.h>
#include "base/answer.h"
static napi_value start(napi_env env, napi_value exports) {
  napi_value value;
  napi_create_int32(env, answer() + CIDERY_WITH_MLX + 0, &value);
  napi_set_named_property(env, exports, "answer", value);
  return exports;
}
NAPI_MODULE(cidery, start)
`;
const nativeSources: Record<string, string> = {
  'native/base/answer.h': 'int answer();\n',
  'native/base/answer.cpp': '#include "base/answer.h"\nint answer() { return 40; }\n',
  'native/base/alone.cpp': 'int alone() { return 1; }\n',
  'native/base/answer_test.cpp': '#error not a part of an addon\n',
  'native/test/fuzz_it.cpp': '#error not a part of an addon\n',
  'native/mlx/ops.cpp': '#include <mlx/mlx.h>\nint ops() { return mlx_answer(); }\n',
  'native/addon/module.cpp':
    '#ifndef CIDERY_WITH_MLX\n#define CIDERY_WITH_MLX 0\n#endif\n' + moduleSource,
};

/**
 * An installed package of its own, with a few lines of C++ for its native tree, a stand-in for MLX
 * and an empty cache. Everything else is the real thing.
 */
export class Sandbox {
  readonly folder = mkdtempSync(join(tmpdir(), 'cidery-setup-'));
  readonly root = join(this.folder, 'package');
  readonly cache = join(this.folder, 'cache');
  readonly output: string[] = [];

  constructor() {
    this.write('package/package.json', '{"type":"module","engines":{"node":">=20.19"}}');
    this.write('package/dist/cli/main.js', 'console.log("ran", ...process.argv.slice(2));');
    for (const [path, text] of Object.entries(nativeSources)) this.write(`package/${path}`, text);
    mkdirSync(this.cache);
    mkdirSync(join(this.root, 'node_modules'));
    for (const name of ['node-addon-api', 'node-api-headers']) {
      const from = join(projectRoot, 'node_modules', name);
      cpSync(from, join(this.root, 'node_modules', name), { recursive: true });
    }
    for (const path of ['bin', 'scripts/setup', 'scripts/setup.mjs']) {
      cpSync(join(projectRoot, path), join(this.root, path), { recursive: true });
    }
  }

  /** Writes a file below the sandbox's folder. */
  write(path: string, text: string): string {
    const target = join(this.folder, path);
    mkdirSync(dirname(target), { recursive: true });
    writeFileSync(target, text);
    return target;
  }

  /** Puts a program into a folder for PATH; returns that folder. */
  program(folder: string, name: string, script: string): string {
    chmodSync(this.write(`${folder}/${name}`, script), 0o755);
    return join(this.folder, folder);
  }

  /** A library that stands in for MLX, in the layout that CIDERY_MLX asks for. */
  standInMlx(): string {
    const source = this.write('mlx/libmlx.cpp', 'int mlx_answer() { return 2; }\n');
    this.write('mlx/include/mlx/mlx.h', 'int mlx_answer();\n');
    mkdirSync(join(this.folder, 'mlx/lib'), { recursive: true });
    const library = join(this.folder, 'mlx/lib/libmlx.so');
    execFileSync('c++', ['-shared', '-fPIC', source, '-o', library]);
    return join(this.folder, 'mlx');
  }

  /** The environment of a set-up here: the cache is the sandbox's, and both addons are wanted. */
  environment(extra: NodeJS.ProcessEnv = {}): NodeJS.ProcessEnv {
    return {
      PATH: process.env['PATH'],
      HOME: this.folder,
      CIDERY_CACHE: this.cache,
      CIDERY_EXECUTOR: 'mlx',
      ...extra,
    };
  }

  options(env: NodeJS.ProcessEnv, signal: AbortSignal = new AbortController().signal) {
    const output = { write: (text: string) => this.output.push(text) };
    return { root: this.root, signal, machine: { env }, output };
  }

  context(env: NodeJS.ProcessEnv, signal?: AbortSignal) {
    return createContext(this.options(env, signal));
  }
}
