import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import {
  functionProblems,
  hintProblems,
  lengthProblems,
  machineProblems,
  type SourceFile,
  undescribedFolders,
  unfinishedProblems,
} from './rules.ts';

const root = resolve(import.meta.dirname, '../..');

/** What git tracks, and what it would track. */
function projectPaths(): string[] {
  const listed = execFileSync('git', ['ls-files', '-co', '--exclude-standard', '-z'], {
    cwd: root,
    encoding: 'utf8',
  });
  const paths = listed.split('\0').filter((path) => path !== '');
  return [...new Set(paths)].filter((path) => existsSync(resolve(root, path)));
}

const paths = projectPaths();
const files: readonly SourceFile[] = paths
  .map((path) => ({ path, bytes: readFileSync(resolve(root, path)) }))
  .filter(({ bytes }) => !bytes.includes(0))
  .map(({ path, bytes }) => ({ path, text: bytes.toString('utf8') }));

describe('the tree', () => {
  it('is read', () => {
    expect(paths).toContain('package.json');
    expect(files.length).toBeGreaterThan(50);
  });

  it('has no file or line that is too long', () => {
    expect(files.flatMap(lengthProblems)).toEqual([]);
  });

  it('has no C++ function that is too long', () => {
    expect(files.flatMap(functionProblems)).toEqual([]);
  });

  it('has no unfinished work and no silent skip', () => {
    expect(files.flatMap(unfinishedProblems)).toEqual([]);
  });

  it('has hints of one form', () => {
    expect(files.flatMap(hintProblems)).toEqual([]);
  });

  it('names no path and no package registry of one machine', () => {
    expect(files.flatMap((file) => machineProblems(file, configuredHosts()))).toEqual([]);
  });

  it('has a line for every folder in ARCHITECTURE.md', () => {
    expect(existsSync(resolve(root, 'ARCHITECTURE.md'))).toBe(true);
    const architecture = readFileSync(resolve(root, 'ARCHITECTURE.md'), 'utf8');
    expect(undescribedFolders(paths, architecture)).toEqual([]);
  });
});

/** The registries that this machine's package clients are set to, if any are. */
function configuredHosts(): string[] {
  const settings = ['npm_config_registry', 'NPM_CONFIG_REGISTRY', 'PIP_INDEX_URL', 'UV_INDEX_URL'];
  return settings
    .map((name) => process.env[name] ?? '')
    .filter((value) => URL.canParse(value))
    .map((value) => new URL(value).host);
}

describe('the rules', () => {
  const lines = (count: number, line: string) => `${line}\n`.repeat(count);

  it('see long files and lines', () => {
    const ok = { path: 'src/a.ts', text: lines(500, 'x') };
    expect(lengthProblems(ok)).toEqual([]);
    const long = { path: 'src/a.ts', text: lines(501, 'x') };
    expect(lengthProblems(long)).toEqual(['src/a.ts: longer than 500 lines']);
    const wide = { path: 'native/a.cpp', text: `\n${'é'.repeat(101)}\n` };
    expect(lengthProblems(wide)).toEqual(['native/a.cpp:2: longer than 100 columns']);
    expect(lengthProblems({ ...wide, path: 'docs/a.md' })).toEqual([]);
  });

  it('see long functions in C++', () => {
    const text = (count: number) => `namespace a {
class S : public T<int()> {
${lines(90, '  int f(char c);')}
  // one { that opens nothing
  int g(char a = '{',
        int b) const {
    if (a) { return [] { return 1; }(); }
${lines(count, '    x();')}  }
};
int h() { return 1; }
}
`;
    expect(functionProblems({ path: 'native/a.cpp', text: text(65) })).toEqual([]);
    expect(functionProblems({ path: 'native/a.cpp', text: text(66) })).toEqual([
      'native/a.cpp:95: a function of 70 lines',
    ]);
  });

  it('see unfinished work', () => {
    const text = `// TODO later\nit.only('x')\nit.skip('y')\n// Skipped: no GPU\nit.skip('z')\n`;
    expect(unfinishedProblems({ path: 'src/a.ts', text })).toEqual([
      'src/a.ts:1: unfinished work',
      'src/a.ts:2: leaves other tests out',
      'src/a.ts:3: a skip without `// Skipped: REASON` on the line before',
    ]);
  });

  it('see hints that begin large or end with a full stop', () => {
    const text = `f({ hint: 'do this' });
f({ hint: 'Do this' });
f({
  hint:
    \`do \${this}.\`,
});
f({ hint: a ? 'CIDERY_X' : "it's." });
const hint = 'Do that';
`;
    const problem = 'a hint begins small, without a full stop';
    expect(hintProblems({ path: 'src/a.ts', text })).toEqual([
      `src/a.ts:2: ${problem}`,
      `src/a.ts:4: ${problem}`,
      `src/a.ts:7: ${problem}`,
      `src/a.ts:8: ${problem}`,
    ]);
    expect(hintProblems({ path: 'test/a.ts', text })).toEqual([]);
  });

  it('see names of one machine', () => {
    const host = ['registry', 'npmjs', 'org'].join('.');
    const file = { path: 'a.md', text: `see ${host} and mirror.example` };
    expect(machineProblems(file, ['mirror.example'])).toEqual([
      `a.md: names ${host}`,
      'a.md: names mirror.example',
    ]);
  });

  it('see a folder that nobody describes', () => {
    const tree = ['README.md', 'src/a/b/c.ts', 'src/d/e.ts', 'test/x.ts', '.ci/run'];
    expect(undescribedFolders(tree, 'src/a/  the a\n')).toEqual(['src/d', 'test']);
  });
});
