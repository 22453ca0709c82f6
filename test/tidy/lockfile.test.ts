import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';

const lockfile = z.object({
  lockfileVersion: z.literal(3),
  packages: z.record(
    z.string(),
    z.object({
      version: z.string().optional(),
      resolved: z.string().optional(),
      integrity: z.string().optional(),
      optionalDependencies: z.record(z.string(), z.string()).optional(),
    }),
  ),
});
type Packages = z.infer<typeof lockfile>['packages'];

const text = readFileSync(resolve(import.meta.dirname, '../../package-lock.json'), 'utf8');
const { packages } = lockfile.parse(JSON.parse(text));

/** Optional dependencies that the lockfile has no entry for, as npm would look for them. */
function missingOptional(entries: Packages): string[] {
  return Object.entries(entries).flatMap(([path, { optionalDependencies }]) =>
    Object.keys(optionalDependencies ?? {})
      .filter((name) => !isLocked(entries, path, name))
      .map((name) => `${path} -> ${name}`),
  );
}

/** npm looks in the package's own node_modules, then in those of the packages around it. */
function isLocked(entries: Packages, path: string, name: string): boolean {
  const parts = path === '' ? [''] : ['', ...path.split(/(?<=^|\/)node_modules\//u).slice(1)];
  return parts.some((_, index) => {
    const around = parts.slice(1, parts.length - index).join('node_modules/');
    const folder = around === '' ? '' : `node_modules/${around}/`.replace('//', '/');
    return entries[`${folder}node_modules/${name}`] !== undefined;
  });
}

describe('package-lock.json', () => {
  it('holds no address of a registry', () => {
    const resolved = Object.values(packages).filter((entry) => entry.resolved !== undefined);
    expect(resolved).toEqual([]);
    expect(text).not.toMatch(/https?:\/\/[^"]*\.tgz/u);
  });

  it('pins the content of every package', () => {
    const loose = Object.entries(packages).filter(
      ([path, { integrity }]) => path !== '' && !integrity?.startsWith('sha512-'),
    );
    expect(loose).toEqual([]);
  });

  it('has an entry for every platform', () => {
    expect(missingOptional(packages)).toEqual([]);
  });

  it('would be seen to lack one', () => {
    const entries = {
      '': {},
      'node_modules/a': { optionalDependencies: { b: '1', c: '1', d: '1' } },
      'node_modules/a/node_modules/b': {},
      'node_modules/c': {},
    };
    expect(missingOptional(entries)).toEqual(['node_modules/a -> d']);
  });
});
