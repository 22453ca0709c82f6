/** What the tidy test says about one file: `path:line: what is wrong`. */
export interface SourceFile {
  /** Relative to the root of the checkout. */
  readonly path: string;
  readonly text: string;
}

const fileMaxLines = 500;
const functionMaxLines = 69;
const lineMaxColumns = 100;

const code = /\.(?:ts|mjs|js|css|cpp|h|def|py|sh)$|^bin\/|^\.ci\//u;
const native = /\.(?:cpp|h)$/u;

/** Hosts that a mirror may stand in for; in pieces, so that this file does not name them. */
const registryHosts = [
  ['registry', 'npmjs', 'org'],
  ['registry', 'npmmirror', 'com'],
  ['pypi', 'org'],
  ['pythonhosted', 'org'],
  ['deb', 'debian', 'org'],
  ['crates', 'io'],
].map((parts) => parts.join('.'));
/** Folders of the machines that cidery is written on. */
const machinePaths = [
  ['', 'work', 'main'],
  ['', 'work', 'shared'],
  ['', 'tmp', 'scratch'],
  ['', 'root', ''],
].map((parts) => parts.join('/'));

export function lengthProblems({ path, text }: SourceFile): string[] {
  if (!code.test(path)) return [];
  const lines = text.split('\n');
  const count = lines.at(-1) === '' ? lines.length - 1 : lines.length;
  const long = lines.flatMap((line, index) =>
    columns(line) > lineMaxColumns
      ? [`${path}:${index + 1}: longer than ${lineMaxColumns} columns`]
      : [],
  );
  return count > fileMaxLines ? [`${path}: longer than ${fileMaxLines} lines`, ...long] : long;
}

/** Characters, not UTF-16 units; what is drawn on top of another one counts, too. */
function columns(line: string): number {
  return line.match(/./gsu)?.length ?? 0;
}

/**
 * Functions in C++ that are too long; those in TypeScript are lint's. A function is a block in no
 * other function whose head holds a parenthesis and is not that of a type or a namespace.
 */
export function functionProblems({ path, text }: SourceFile): string[] {
  if (!native.test(path)) return [];
  const problems: string[] = [];
  const inType = /^(?:template\s*<[^]*?>\s*)?(?:class|struct|union|enum|namespace|extern)\b/u;
  let [line, depth, head] = [1, 0, ''];
  let open: { readonly depth: number; readonly line: number } | undefined;
  for (const character of withoutLiterals(text)) {
    if (character === '\n') line++;
    if (character === '{') {
      const isFunction = head.includes('(') && !inType.test(head.trim());
      if (open === undefined && isFunction) open = { depth, line: line - newlines(head.trim()) };
      depth++;
    }
    if (character === '}') depth--;
    if (character === '}' && open?.depth === depth) {
      const lines = line - open.line + 1;
      if (lines > functionMaxLines)
        problems.push(`${path}:${open.line}: a function of ${lines} lines`);
      open = undefined;
    }
    head = /[{};]/u.test(character) ? '' : head + character;
  }
  return problems;
}

function newlines(text: string): number {
  return text.split('\n').length - 1;
}

/** C++ without what may hold a brace that is none: comments, literals, preprocessor lines. */
function withoutLiterals(text: string): string {
  const literals = [
    /\/\/[^\n]*|\/\*[^]*?\*\//u,
    /R"(\w*)\([^]*?\)\1"/u,
    /"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])'/u,
    /^[ \t]*#(?:\\\n|[^\n])*/u,
  ];
  const literal = new RegExp(literals.map(({ source }) => source).join('|'), 'gmu');
  return text.replace(literal, (found) => '\n'.repeat(newlines(found)));
}

/** Marks of unfinished work, and tests that do not run without saying why. */
export function unfinishedProblems({ path, text }: SourceFile): string[] {
  if (!code.test(path) || path.startsWith('test/tidy/')) return [];
  const lines = text.split('\n');
  return lines.flatMap((line, index) => {
    const problem = unfinished(line, lines[index - 1] ?? '');
    return problem === undefined ? [] : [`${path}:${index + 1}: ${problem}`];
  });
}

function unfinished(line: string, before: string): string | undefined {
  if (/\b(?:TODO|FIXME|XXX|HACK)\b/u.test(line)) return 'unfinished work';
  if (/\b(?:it|test|describe)\.(?:only|todo)\b/u.test(line)) return 'leaves other tests out';
  const skips = /\b(?:it|test|describe)\.(?:skip|skipIf|runIf|fails)\b|\.skip\(\s*\)/u.test(line);
  if (skips && !/\/\/ Skipped: \S/u.test(before)) {
    return 'a skip without `// Skipped: REASON` on the line before';
  }
  return undefined;
}

/**
 * Hints of errors that are not written like all others: they stand behind a message and a
 * semicolon, or in brackets, so they begin small and end without a full stop.
 */
export function hintProblems({ path, text }: SourceFile): string[] {
  if (!/^(?:src|bench|chaos)\/.*\.ts$/u.test(path)) return [];
  const literal = /'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|`(?:\\.|[^`\\])*`/u.source;
  const either = `\\bhint\\b[^;{}'"\`]*[:=?]\\s*(${literal})(?:\\s*:\\s*(${literal}))?`;
  return [...text.matchAll(new RegExp(either, 'gu'))].flatMap(({ index, 1: one, 2: other }) =>
    [one, other].some((hint) => /^.[A-Z][a-z]|[^.]\..$/u.test(hint ?? ''))
      ? [`${path}:${newlines(text.slice(0, index)) + 1}: a hint begins small, without a full stop`]
      : [],
  );
}

/** Names that hold only on one machine. `hosts` come from the settings of this one. */
export function machineProblems({ path, text }: SourceFile, hosts: readonly string[]): string[] {
  const names = [...registryHosts, ...machinePaths, ...hosts].filter((name) => text.includes(name));
  return names.map((name) => `${path}: names ${name}`);
}

/**
 * Folders without a line in ARCHITECTURE.md: those at the top, and those of src/ and native/.
 * A line names a folder as `src/model/`.
 */
export function undescribedFolders(paths: readonly string[], architecture: string): string[] {
  const folders = new Set<string>();
  for (const path of paths) {
    const parts = path.split('/').slice(0, -1);
    const [top] = parts;
    if (top === undefined || top.startsWith('.')) continue;
    const deep = (top === 'src' || top === 'native') && parts.length > 1;
    folders.add(parts.slice(0, deep ? 2 : 1).join('/'));
  }
  const described = (folder: string) => architecture.includes(`${folder}/`);
  return [...folders].filter((folder) => !described(folder)).toSorted();
}
