import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { LineProcess } from '../../bench/processes/line-process.ts';
import { rejection } from '../support/rejection.ts';

const schema = z.looseObject({ twice: z.number() });

/** A worker of Node's; `onLine` is the body of a function of the request `r`. */
function worker(onLine: string, more = ''): LineProcess {
  const script = `
    const reply = (value) => console.log(JSON.stringify(value));
    require('node:readline').createInterface({ input: process.stdin }).on('line', (line) => {
      const r = JSON.parse(line);
      ${onLine}
    });
    ${more}`;
  return new LineProcess('worker', { program: process.execPath, args: ['-e', script] });
}

describe('LineProcess', () => {
  it('matches replies to requests in whatever order they come', async () => {
    const process = worker('setTimeout(() => reply({ id: r.id, twice: 2 * r.n }), r.wait);');
    const replies = await Promise.all([
      process.request(schema, { n: 1, wait: 100 }, 10_000),
      process.request(schema, { n: 2, wait: 0 }, 10_000),
    ]);
    expect(replies.map(({ twice }) => twice)).toEqual([2, 4]);
    await process.close();
  });

  it('hands on coded errors and lives on', async () => {
    const process = worker(
      'reply(r.n > 1 ? { id: r.id, twice: 4 } : { id: r.id, error: { code: "c", message: "m" } });',
    );
    expect(await rejection(process.request(schema, { n: 1 }, 10_000))).toEqual({
      code: 'c',
      message: 'm',
    });
    expect(await process.request(schema, { n: 2 }, 10_000)).toMatchObject({ twice: 4 });
    await process.close();
  });

  it('ends a process that takes too long, and all that waits for it', async () => {
    const process = worker('');
    const slow = [
      rejection(process.request(schema, {}, 200)),
      rejection(process.request(schema, {}, 60_000)),
    ];
    const expected = { code: 'bench_time_limit', message: 'longer than 0.2 s' };
    expect(await Promise.all(slow)).toEqual([expected, expected]);
    expect(await rejection(process.request(schema, {}, 60_000))).toEqual(expected);
    await process.close();
  });

  it('tells what a process last said when it ends, or cannot be started', async () => {
    const process = worker('console.error("out of luck"); process.exit(7);');
    expect(await rejection(process.request(schema, {}, 10_000))).toEqual({
      code: 'bench_process',
      message: 'worker: it ended (7); it last said: out of luck',
    });
    await process.close();
    const missing = new LineProcess('worker', { program: '/nonexistent/program', args: [] });
    const { code, message } = await rejection(missing.request(schema, {}, 10_000));
    expect([code, message]).toEqual(['bench_process', expect.stringContaining('ENOENT')]);
    await missing.close();
  });

  it.each([
    ['console.log("hello");', 'a line is not JSON'],
    ['reply({ id: 99 });', 'a reply to no request'],
    ['reply({ id: r.id, twice: "two" });', 'an unexpected reply'],
    ['reply([1]);', 'expected object'],
  ])('does not take %s for an answer', async (onLine, what) => {
    const process = worker(onLine);
    const { code, message } = await rejection(process.request(schema, {}, 10_000));
    expect([code, message]).toEqual(['bench_process', expect.stringContaining(what)]);
    await process.close();
  });

  it('ends a process that does not leave when its input ends', async () => {
    const process = worker('reply({ id: r.id, twice: 0 });', 'setInterval(() => {}, 1_000);');
    await process.request(schema, {}, 10_000);
    await process.close();
    expect(() => globalThis.process.kill(process.pid, 0)).toThrow('ESRCH');
  });
});
