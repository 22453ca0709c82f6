import { rmSync } from 'node:fs';
import { mkdtemp, readFile, writeFile } from 'node:fs/promises';
import { homedir, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { z } from 'zod';
import { CideryError, errorMessage, invariant } from '../src/base/error.ts';
import { runCommand } from '../src/platform/real-command.ts';
import { type Arguments, parseArguments, type PeerName } from './arguments.ts';
import { benchLimits } from './limits.ts';
import { load, machineBefore } from './machine/facts.ts';
import { buildRoof, type Roof } from './machine/roof.ts';
import { measures } from './measures/index.ts';
import type { Bench } from './measures/measure.ts';
import { Cidery, type CiderySettings } from './peers/cidery.ts';
import { prepareLlama } from './peers/llama.ts';
import { prepareMlxLm } from './peers/mlx-lm.ts';
import { prepareMlxRing } from './peers/mlx-ring.ts';
import type { Prepared, Subject } from './peers/subject.ts';
import { Recorder } from './recorder.ts';
import { type Report, reportText } from './report.ts';
import { Prompts, realText } from './texts.ts';

const starter = 'smollm2:135m';
const modelsSchema = z.looseObject({
  models: z.array(z.looseObject({ id: z.string(), path: z.string().nullish() })),
});

const note = (line: string) => process.stderr.write(`${line}\n`);

async function main(argv: readonly string[]): Promise<void> {
  const options = parseArguments(argv, measures);
  const root = process.env['CIDERY_ROOT'];
  invariant(root !== undefined, 'bench/run.mjs names the checkout');
  const temporary = await mkdtemp(join(tmpdir(), 'cidery-bench-'));
  // Told to end, it takes its processes and files along.
  process.once('exit', () => rmSync(temporary, { recursive: true, force: true }));
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.once(signal, () => process.exit(130));
  const report = await runMeasure(options, root, temporary);
  process.stdout.write(reportText(report));
  if (options.json !== null) {
    await writeFile(options.json, `${JSON.stringify(report, null, 2)}\n`);
    note(`written to ${options.json}`);
  }
  // A run in which nothing at all was measured has failed.
  if (report.figures.length === 0) process.exitCode = 1;
}

async function runMeasure(options: Arguments, root: string, temporary: string): Promise<Report> {
  const measure = measures.find(({ name }) => name === options.name);
  invariant(measure !== undefined, 'the arguments name a measure');
  const startedAt = new Date().toISOString();
  const machine = await machineBefore(root);
  const recorder = new Recorder();
  const model = options.model === null ? await starterPath(root) : resolve(options.model);
  const { executor } = options;
  const version = await ownVersion(root);
  const settings = { root, home: join(temporary, 'home'), model, executor, version };
  const cidery = new Cidery(settings);
  const subjects: Subject[] = [cidery];
  for (const name of options.against) {
    const prepared = await preparePeer(name, settings);
    if ('absent' in prepared) recorder.absent(prepared.name, 'everything', prepared.absent);
    else subjects.push(prepared);
  }
  const roof = await roofOf(root, temporary, recorder);
  const text = await realText(root);
  const bench: Bench = {
    cidery,
    subjects,
    recorder,
    prompts: new Prompts(await cidery.tokenize(text.text)),
    facts: await cidery.facts(),
    roof,
    threads: options.threads,
    precise: options.precise,
    contextLength: maxContext,
    cases: options.cases,
    limitMs: options.limitMs,
    note,
  };
  const rounds = options.rounds ?? measure.rounds;
  for (let round = 0; round < rounds; round += 1) {
    note(`${measure.name}, round ${round + 1} of ${rounds}`);
    await measure.round(bench, round);
  }
  return {
    name: `${measure.name}: ${measure.about}`,
    startedAt,
    machine: { ...machine, loadAfter: load() },
    settings: {
      executor: executor ?? process.env['CIDERY_EXECUTOR'] ?? "cidery's own choice",
      mode: options.precise ? 'precise' : 'fast',
      threads: options.threads,
      rounds,
      text: `${text.sources} (${text.sha256})`,
    },
    versions: {
      node: process.version,
      ...Object.fromEntries(subjects.map((subject) => [subject.name, subject.version])),
    },
    figures: recorder.figures(),
    absences: recorder.absences,
  };
}

/** The starter model's own; other models that are measured have at least as much. */
const maxContext = 8_192;

function preparePeer(name: PeerName, settings: CiderySettings): Promise<Prepared> {
  const { root, model } = settings;
  const cache = cacheFolder();
  switch (name) {
    case 'llama':
      return prepareLlama(root, cache, model);
    case 'mlx-lm':
      return prepareMlxLm(root, cache, model);
    case 'ring':
      return prepareMlxRing(settings);
  }
}

/** As set-up has it: CIDERY_CACHE, else `cidery` in the user's cache. */
function cacheFolder(): string {
  const { CIDERY_CACHE: named, XDG_CACHE_HOME: caches } = process.env;
  return named ? resolve(named) : join(caches || join(homedir(), '.cache'), 'cidery');
}

async function roofOf(root: string, folder: string, recorder: Recorder): Promise<Roof | null> {
  try {
    return await buildRoof(root, folder);
  } catch (error) {
    recorder.absent('machine', 'roofs', errorMessage(error));
    return null;
  }
}

/** Where the starter model lies, fetched where it is missing. */
async function starterPath(root: string): Promise<string> {
  const run = async (...args: string[]) => {
    const script = join(root, 'dist/cli/main.js');
    const { status, output } = await runCommand(process.execPath, [script, ...args], {
      outputMaxBytes: benchLimits.lineMaxBytes,
    });
    if (status === 0) return output;
    throw new CideryError('bench_process', `\`cidery ${args.join(' ')}\` failed: ${output}`);
  };
  await run('pull', starter, '--json');
  const { models } = modelsSchema.parse(JSON.parse(await run('models', '--json')));
  const path = models.find(({ id }) => id === starter)?.path;
  if (path === undefined || path === null) {
    throw new CideryError('bench_no_model', `${starter} is not on this machine after a pull`);
  }
  return path;
}

async function ownVersion(root: string): Promise<string> {
  const schema = z.looseObject({ version: z.string() });
  return schema.parse(JSON.parse(await readFile(join(root, 'package.json'), 'utf8'))).version;
}

try {
  await main(process.argv.slice(2));
} catch (error) {
  note(errorMessage(error));
  const isUsage = error instanceof CideryError && error.code === 'usage';
  if (error instanceof CideryError && error.hint !== undefined) note(error.hint);
  process.exitCode = isUsage ? 2 : 1;
}
