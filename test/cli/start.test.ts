import { existsSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type CliProcess, CliSandbox, onlyValue } from '../support/cli.ts';

let sandbox: CliSandbox;

beforeEach(async () => {
  sandbox = await CliSandbox.open();
});
afterEach(() => sandbox.close());

interface Started {
  readonly node: CliProcess;
  readonly url: string;
}

async function start(args: string[] = [], environment?: Record<string, string>): Promise<Started> {
  const node = sandbox.start(['start', '--port', '0', ...args], environment);
  const line = await node.line();
  expect(line).toMatch(/^ready http:\/\/127\.0\.0\.1:\d+$/);
  return { node, url: line.slice('ready '.length) };
}

function runFile(): string {
  return join(sandbox.home, 'run', 'node.json');
}

describe('cidery start', () => {
  test.each<NodeJS.Signals>(['SIGTERM', 'SIGINT'])(
    'serves, says so on one line, and ends in order at %s',
    async (signal) => {
      const { node, url } = await start();
      expect(await (await fetch(`${url}/health`)).json()).toEqual({ status: 'ok', models: [] });
      const page = await fetch(url);
      expect([page.status, page.headers.get('content-type')]).toEqual([
        200,
        'text/html; charset=UTF-8',
      ]);
      expect(JSON.parse(await readFile(runFile(), 'utf8'))).toEqual({
        url,
        pid: node.process.pid,
      });
      const began = performance.now();
      node.process.kill(signal);
      const { status, stdout, stderr } = await node.result;
      expect([status, stdout]).toEqual([0, `ready ${url}\n`]);
      expect(performance.now() - began).toBeLessThan(5_000);
      expect(stderr).toContain('curl http://127.0.0.1');
      expect(existsSync(runFile())).toBe(false);
    },
  );

  test('with --json the line is an event', async () => {
    const node = sandbox.start(['start', '--port', '0', '--json']);
    expect(JSON.parse(await node.line())).toEqual({
      event: 'ready',
      url: expect.stringMatching(/^http:\/\/127\.0\.0\.1:\d+$/),
    });
  });

  test('a starter model that cannot be fetched costs a line and no more', async () => {
    const { node, url } = await start();
    let said = '';
    node.process.stderr.on('data', (text: string) => (said += text));
    await expect.poll(() => said, { timeout: 20_000 }).toContain('is not loaded');
    expect((await fetch(`${url}/health`)).status).toBe(200);
  });

  test('a model that was asked for and cannot be had ends it with 1', async () => {
    const node = sandbox.start(['start', '--port', '0', '--model', './nowhere']);
    const { status, stderr } = await node.result;
    expect([status, stderr]).toEqual([1, expect.stringMatching(/nowhere is not there; [^\n]+\n$/)]);
    expect(existsSync(runFile())).toBe(false);
  });

  test('other commands find it: status, ps, models, logs, stop', async () => {
    const { url } = await start();
    const json = async (...args: string[]) =>
      onlyValue((await sandbox.run([...args, '--json'])).stdout);
    expect(await json('status')).toMatchObject({ running: true, url, instances: [] });
    expect(await json('ps')).toEqual({ instances: [] });
    expect(await json('models')).toEqual({ models: expect.any(Array) });
    expect(await json('stop', 'x')).toMatchObject({ error: { code: 'deployment_not_found' } });
    const logs = await sandbox.run(['logs']);
    expect(logs.stdout).toMatch(/http {2}GET \/health 200/);
    const text = await sandbox.run(['status']);
    expect(text.stdout).toContain(url);
  });

  test('a second one for the same home, or at the same port, is refused', async () => {
    const { url } = await start();
    const second = await sandbox.run(['start', '--port', '0', '--json']);
    expect([second.status, onlyValue(second.stdout)]).toMatchObject([
      1,
      { error: { code: 'node_running' } },
    ]);
    const port = new URL(url).port;
    const elsewhere = ['start', '--port', port, '--home', join(sandbox.folder, 'other'), '--json'];
    const third = await sandbox.run(elsewhere);
    expect([third.status, onlyValue(third.stdout)]).toMatchObject([
      1,
      { error: { code: 'port_taken' } },
    ]);
  });

  test('what a killed one has left behind does not count', async () => {
    const { node } = await start();
    node.process.kill('SIGKILL');
    await node.result;
    expect(existsSync(runFile())).toBe(true);
    const { stdout } = await sandbox.run(['status', '--json']);
    expect(onlyValue(stdout)).toEqual({ running: false });
    await start();
    const logs = await sandbox.run(['logs', '--json']);
    expect(logs.status).toBe(0);
  });

  test.each(['', '{"url":', '{"url":"no url","pid":1}', '[]'])(
    'nor does a run file of %j',
    async (text) => {
      await mkdir(join(sandbox.home, 'run'), { recursive: true });
      await writeFile(runFile(), text);
      const { stdout } = await sandbox.run(['status', '--json']);
      expect(onlyValue(stdout)).toEqual({ running: false });
    },
  );

  test('a key guards everything but health and page, and commands send it', async () => {
    const environment = { CIDERY_API_KEY: 'a secret' };
    const { url } = await start([], environment);
    expect((await fetch(`${url}/v1/models`)).status).toBe(401);
    expect((await fetch(`${url}/health`)).status).toBe(200);
    const keyed = await sandbox.run(['status', '--json'], { environment });
    expect(onlyValue(keyed.stdout)).toMatchObject({ running: true, url });
    const without = await sandbox.run(['status', '--json']);
    expect([without.status, onlyValue(without.stdout)]).toMatchObject([
      1,
      { error: { code: 'key_missing' } },
    ]);
    expect(await readFile(runFile(), 'utf8')).not.toContain('secret');
  });

  test('an open event stream does not hold up the end', async () => {
    const { node, url } = await start();
    const events = await fetch(`${url}/cluster/v1/events`);
    const reader = events.body?.getReader();
    await reader?.read();
    node.process.kill('SIGTERM');
    expect((await node.result).status).toBe(0);
    await expect(
      (async () => {
        while ((await reader?.read())?.done === false);
      })(),
    ).resolves.toBeUndefined();
  });
});
