import { z } from 'zod';
import { CideryError } from '../base/error.ts';
import { limits } from '../base/limits.ts';
import { FieldError } from './http-error.ts';

/**
 * A request's body, read up to the limit and parsed. Throws `body_too_large`, `body_not_json`,
 * `body_too_deep`, and a FieldError with OpenAI's code for the first field that is wrong.
 */
export async function parseBody<Schema extends z.ZodType>(
  request: Request,
  schema: Schema,
): Promise<z.infer<Schema>> {
  const value = parseJson(await readText(request));
  const parsed = check(value, schema);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw issue === undefined
    ? new CideryError('internal', 'no issue')
    : fieldError(issue, value, schema);
}

/** Schemas of any JSON look at each level from within the one around it. */
function check<Schema extends z.ZodType>(
  value: unknown,
  schema: Schema,
): z.ZodSafeParseResult<z.infer<Schema>> {
  try {
    return schema.safeParse(value);
  } catch (cause) {
    if (!(cause instanceof RangeError)) throw cause;
    throw new CideryError('body_too_deep', 'the body is nested too deeply', {
      cause,
      hint: 'send fewer levels of lists and objects',
    });
  }
}

async function readText(request: Request): Promise<string> {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(await readBytes(request));
  } catch (cause) {
    if (cause instanceof CideryError) throw cause;
    if (cause instanceof TypeError) {
      throw new CideryError('body_not_json', 'the body is not UTF-8', { cause });
    }
    throw new CideryError('cancelled', 'the client left while it sent the body', { cause });
  }
}

/** A body whose length is told is taken whole, which takes a part of a stream's time. */
async function readBytes(request: Request): Promise<Uint8Array> {
  const length = Number(request.headers.get('content-length') ?? Number.NaN);
  if (length > limits.bodyMaxBytes) throw tooLarge();
  return Number.isNaN(length) ? readStream(request) : new Uint8Array(await request.arrayBuffer());
}

async function readStream(request: Request): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of request.body ?? []) {
    bytes += chunk.byteLength;
    if (bytes > limits.bodyMaxBytes) throw tooLarge();
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function tooLarge(): CideryError {
  return new CideryError('body_too_large', `the body is over ${limits.bodyMaxBytes} bytes`);
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new CideryError('body_not_json', 'we could not parse the JSON body of your request', {
      cause,
      hint: 'send a JSON object with Content-Type: application/json',
    });
  }
}

type Issue = z.core.$ZodIssue;

/** The deepest issue of a union is the one that its sender meant. */
function deepest(issue: Issue, base: PropertyKey[]): { issue: Issue; path: PropertyKey[] } {
  const path = [...base, ...issue.path];
  if (issue.code !== 'invalid_union') return { issue, path };
  const inner = issue.errors
    .flatMap((errors) => errors.slice(0, 1))
    .map((error) => deepest(error, path))
    .filter((found) => found.path.length > path.length)
    .sort((a, b) => b.path.length - a.path.length)[0];
  return inner ?? { issue, path };
}

function fieldError(first: Issue, body: unknown, schema: z.ZodType): FieldError {
  const { issue, path } = deepest(first, []);
  const field = path.reduce<string>(
    (text, key) =>
      typeof key === 'number'
        ? `${text}[${key}]`
        : text === ''
          ? String(key)
          : `${text}.${String(key)}`,
    '',
  );
  const missing = valueAt(body, path) === undefined;
  if (missing && field !== '') {
    return new FieldError(
      'missing_required_parameter',
      `Missing required parameter: '${field}'.`,
      field,
    );
  }
  return new FieldError(
    codeOf(issue, isInteger(schema, path)),
    `Invalid value for '${field || 'body'}': ${issue.message}.`,
    field || null,
  );
}

function codeOf(issue: Issue, integer: boolean): string {
  if (issue.code === 'invalid_type') return 'invalid_type';
  if (issue.code !== 'too_big' && issue.code !== 'too_small') return 'invalid_value';
  const side = issue.code === 'too_big' ? 'above_max' : 'below_min';
  const origin = issue.origin === 'number' && integer ? 'int' : issue.origin;
  const named = sizeCodes.find(([name]) => name === origin);
  return named === undefined ? 'invalid_value' : `${named[1]}_${side}_${named[2]}`;
}

/** What zod measures, and the two ends of OpenAI's code for it. */
const sizeCodes = [
  ['string', 'string', 'length'],
  ['array', 'array', 'length'],
  ['int', 'integer', 'value'],
  ['number', 'decimal', 'value'],
] as const;

/** Whether a field of the body is one of whole numbers; zod's issues do not tell. */
function isInteger(schema: z.ZodType, path: readonly PropertyKey[]): boolean {
  const [field] = path;
  const { properties } = z.toJSONSchema(schema, { unrepresentable: 'any', io: 'input' });
  if (path.length !== 1 || typeof field !== 'string') return false;
  return JSON.stringify(properties?.[field] ?? null).includes('"type":"integer"');
}

function valueAt(value: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>(
    (at, key) => (typeof at === 'object' && at !== null ? Reflect.get(at, key) : undefined),
    value,
  );
}
