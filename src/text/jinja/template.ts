import { CideryError } from '../../base/error.ts';
import { Bound } from './arguments.ts';
import { createDict, createNamespace, Interpreter } from './interpreter.ts';
import type { MarkedText } from './marked-text.ts';
import { parseTemplate } from './parser.ts';
import { parseWallTime, strftime, type WallTime } from './strftime.ts';
import { stringify } from './stringify.ts';
import type { Statement } from './syntax.ts';
import { type Arguments, Callable, failure, List, text, type Value } from './values.ts';

/** As many numbers as Jinja's sandbox lets a range have. */
const rangeMaxItems = 100_000;

/** A parsed template, to render any number of times. */
export class Template {
  private readonly body: Statement[];

  /** Fails with `template_invalid`. */
  constructor(source: string) {
    try {
      this.body = parseTemplate(source);
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      throw failure('it is nested too deeply');
    }
  }

  /**
   * Renders as transformers does. `now` is an ISO 8601 time, whose clock-on-the-wall fields are
   * what `strftime_now` prints. Fails with `template_failed`, `template_refused` (the template's
   * own raise_exception) or `template_too_large`.
   */
  render(variables: ReadonlyMap<string, Value>, now: string): MarkedText {
    const time = parseWallTime(now);
    if (time === undefined) {
      throw new CideryError('bad_time', `'${now}' is no ISO 8601 time`, {
        hint: 'write it as 2026-01-31T12:00:00',
      });
    }
    return new Interpreter().render(this.body, [...globals(time), ...variables]);
  }
}

function globals(now: WallTime): [string, Value][] {
  const functions: Record<string, (args: Arguments) => Value> = {
    range,
    dict: createDict,
    namespace: createNamespace,
    raise_exception: refuse,
    strftime_now: (args) => {
      const format = new Bound('strftime_now', args, ['format']).text('format');
      return format.derive(strftime(format.text, now));
    },
    joiner,
  };
  return Object.entries(functions).map(([name, call]) => [name, new Callable(name, call)]);
}

function refuse(args: Arguments): never {
  const message = stringify(new Bound('raise_exception', args, ['message']).required('message'));
  throw new CideryError('template_refused', message.text, {
    hint: "the model's chat template does not allow these messages; change their roles or order",
  });
}

function range(args: Arguments): Value {
  const [first = 0, second, third] = args.positional.map((_, at) =>
    new Bound('range', { positional: args.positional.slice(at, at + 1), named: args.named }, [
      'number',
    ]).integer('number'),
  );
  if (args.positional.length === 0) throw failure('range expected at least 1 argument, got 0');
  const [start, stop, step] = second === undefined ? [0, first, 1] : [first, second, third ?? 1];
  if (step === 0) throw failure('range() arg 3 must not be zero');
  const length = Math.max(0, Math.ceil((stop - start) / step));
  if (length > rangeMaxItems) throw failure(`a range may have ${rangeMaxItems} items`);
  return new List(Array.from({ length }, (_, at) => start + at * step));
}

function joiner(args: Arguments): Value {
  const separator = new Bound('joiner', args, ['sep']).optional('sep') ?? text(', ');
  let used = false;
  return new Callable('joiner', () => {
    if (used) return separator;
    used = true;
    return text('');
  });
}
