import { execFile } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const root = resolve(import.meta.dirname, '../..');
const folders = [
  ...['base', 'ports', 'model', 'text', 'engine', 'placement', 'cluster', 'store', 'platform'],
  ...['node', 'api', 'cli'],
];
/** What each folder may import, apart from itself: CONTRIBUTING.md, rule 1. */
const allowed: Record<string, string> = {
  base: '',
  ports: 'base',
  model: 'base ports',
  text: 'base ports model',
  engine: 'base ports model text',
  placement: 'base ports model',
  cluster: 'base ports model placement',
  store: 'base ports model',
  platform: 'base ports',
  node: 'base ports model placement cluster store platform protocol',
  api: 'base ports model placement cluster store platform node protocol',
  cli: 'base ports model placement cluster store platform node api protocol',
};

let checkout = '';

beforeAll(() => {
  checkout = mkdtempSync(join(tmpdir(), 'cidery-lint-'));
  cpSync(join(root, '.oxlintrc.json'), join(checkout, '.oxlintrc.json'));
});
afterAll(() => rmSync(checkout, { recursive: true, force: true }));

/** The modules whose import lint refuses in a file. */
function refused(path: string, modules: readonly string[]): Promise<string[]> {
  const file = join(checkout, path);
  mkdirSync(dirname(file), { recursive: true });
  const lines = modules.map((name, index) => `export { a as a${index} } from '${name}';`);
  writeFileSync(file, `${lines.join('\n')}\n`);
  const lint = join(root, 'node_modules/.bin/oxlint');
  return new Promise((done, fail) => {
    execFile(lint, ['-f', 'unix', path], { cwd: checkout }, (error, output) => {
      const pattern = /'([^']+)' import is restricted/gu;
      if (error !== null && error.code !== 1) fail(error);
      else done([...output.matchAll(pattern)].map(([, name = '']) => name));
    });
  });
}

describe('the direction of imports', () => {
  it.each(folders)('from %s is enforced', async (folder) => {
    const others = folders.filter((name) => name !== folder);
    const may = new Set(allowed[folder]?.split(' '));
    const imports = others.map((name) => `../../${name}/deep/x.ts`);
    const wanted = others.filter((name) => !may.has(name)).map((name) => `../../${name}/deep/x.ts`);
    expect(await refused(`src/${folder}/deep/a.ts`, imports)).toEqual(wanted);
  });

  it('lets outsiders see engine through its protocol only', async () => {
    const imports = ['../engine/protocol.ts', '../engine/scheduler.ts'];
    expect(await refused('src/node/a.ts', imports)).toEqual(['../engine/scheduler.ts']);
    expect(await refused('src/store/a.ts', imports)).toEqual(imports);
  });

  it('keeps I/O out of what is pure', async () => {
    const imports = ['node:fs', 'node:fs/promises', 'node:net', 'node:path', 'node:crypto'];
    const io = ['node:fs', 'node:fs/promises', 'node:net'];
    expect(await refused('src/store/a.ts', imports)).toEqual(io);
    expect(await refused('src/platform/a.ts', imports)).toEqual([]);
    expect(await refused('src/store/a.test.ts', imports)).toEqual([]);
  });
});
