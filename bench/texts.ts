import { createHash } from 'node:crypto';
import { lstat, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { CideryError } from '../src/base/error.ts';
import { runCommand } from '../src/platform/real-command.ts';
import { benchLimits } from './limits.ts';

/** Real English text of this machine's own packages. */
export interface RealText {
  readonly text: string;
  /** What it is made of, for the report: machines have different versions of it. */
  readonly sources: string;
  readonly sha256: string;
}

const pythonTopics = `
import pydoc_data.topics as t
print("\\n\\n".join(t.topics[name] for name in sorted(t.topics)))
`;

/**
 * Python's reference on the language's topics first (prose that few models know by heart), then the
 * licences that Debian keeps; on a machine with neither, the checkout's own pages, which change.
 */
export async function realText(root: string): Promise<RealText> {
  const parts = [
    { name: "Python's topics", text: await pythonText() },
    { name: 'licences', text: await folderText('/usr/share/common-licenses', () => true) },
  ].filter(({ text }) => text !== '');
  if (parts.length === 0) {
    const isPage = (name: string) => name.endsWith('.md');
    parts.push({ name: 'docs', text: await folderText(join(root, 'docs'), isPage) });
  }
  const text = parts
    .map((part) => part.text)
    .join('\n\n')
    .slice(0, benchLimits.textMaxCharacters);
  if (text === '') throw new CideryError('bench_no_text', 'there is no text to measure with');
  return {
    text,
    sources: parts.map(({ name }) => name).join(' + '),
    sha256: createHash('sha256').update(text).digest('hex').slice(0, 16),
  };
}

/** Empty where there is no Python. */
async function pythonText(): Promise<string> {
  try {
    const { status, output } = await runCommand('python3', ['-c', pythonTopics], {
      outputMaxBytes: benchLimits.textMaxCharacters,
    });
    return status === 0 ? output : '';
  } catch {
    return '';
  }
}

/** The files of a folder in order of their names, without links to others; empty without it. */
async function folderText(folder: string, wanted: (name: string) => boolean): Promise<string> {
  const names = await readdir(folder).catch(() => []);
  const texts: string[] = [];
  for (const name of names.filter(wanted).toSorted((a, b) => (a < b ? -1 : 1))) {
    const path = join(folder, name);
    if ((await lstat(path)).isFile()) texts.push(await readFile(path, 'utf8'));
  }
  return texts.join('\n\n');
}

/** Apart enough that what two prompts share is no block of 16 positions at the same place. */
const windowStep = 61;

/**
 * Prompts out of one long row of ids. No two begin alike, so that no engine that keeps prefixes is
 * spared a prompt's work.
 */
export class Prompts {
  readonly #ids: readonly number[];
  readonly #taken = new Set<string>();
  #at = 0;

  constructor(ids: readonly number[]) {
    this.#ids = ids;
  }

  get length(): number {
    return this.#ids.length;
  }

  /** @throws CideryError `bench_text_too_short` when all beginnings are used or none is so long. */
  next(length: number): number[] {
    const span = Math.max(0, this.#ids.length - length);
    for (const _ of Array.from({ length: span }).keys()) {
      const from = this.#at % span;
      const beginning = this.#ids.slice(from, from + 8).join(' ');
      if (this.#taken.has(beginning)) {
        this.#at += 1;
        continue;
      }
      this.#at += windowStep;
      this.#taken.add(beginning);
      return this.#ids.slice(from, from + length);
    }
    throw new CideryError('bench_text_too_short', `no prompt of ${length} tokens is left`);
  }

  many(count: number, length: number): number[][] {
    return Array.from({ length: count }, () => this.next(length));
  }
}
