import { type IncomingMessage, request } from 'node:http';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type ServedNode, serveNode } from '../support/served-node.ts';

let open: ServedNode;
let locked: ServedNode;

beforeAll(async () => {
  open = await serveNode({ origins: ['https://friend.example'] });
  locked = await serveNode({ apiKey: 'a secret', origins: ['https://friend.example'] });
});
afterAll(() => Promise.all([open.close(), locked.close()]));

/** fetch hides Host and Origin; this sends what it is told. */
async function ask(
  { server }: ServedNode,
  path: string,
  headers: Record<string, string>,
  method = 'GET',
): Promise<IncomingMessage> {
  const sent = request({ port: server.port, host: '127.0.0.1', path, headers, method });
  const answer = new Promise<IncomingMessage>((resolve, reject) => {
    sent.once('response', resolve);
    sent.once('error', reject);
  });
  sent.end();
  return (await answer).resume();
}

async function statusOf(...args: Parameters<typeof ask>): Promise<number | undefined> {
  return (await ask(...args)).statusCode;
}

describe('Host', () => {
  test.each(['localhost:1', '127.0.0.1', '[::1]:8080', '192.168.1.7:1', 'node.localhost'])(
    '%s is answered',
    async (host) => expect(await statusOf(open, '/v1/models', { host })).toBe(200),
  );

  test.each([
    'evil.example',
    'localhost.evil.example',
    '127.0.0.1.evil.example:80',
    'evil.example:11435',
    'localhost@evil.example',
    'notlocalhost',
  ])('%s is refused', async (host) => {
    const status = await statusOf(open, '/v1/models', { host });
    expect(status === 403 || status === 400).toBe(true);
  });
});

describe('Origin', () => {
  const host = '127.0.0.1:9';

  test("the page's own and listed ones are answered, and only listed ones may read", async () => {
    const own = await ask(open, '/v1/models', { host, origin: `http://${host}` });
    expect([own.statusCode, own.headers['access-control-allow-origin']]).toEqual([200, undefined]);
    const origin = 'https://friend.example';
    const listed = await ask(open, '/v1/models', { host, origin });
    expect([listed.statusCode, listed.headers['access-control-allow-origin']]).toEqual([
      200,
      origin,
    ]);
    const failed = await ask(open, '/v1/nothing', { host, origin });
    expect([failed.statusCode, failed.headers['access-control-allow-origin']]).toEqual([
      404,
      origin,
    ]);
  });

  test.each(['https://evil.example', 'null', `http://${host}.evil.example`, 'http://127.0.0.1:10'])(
    '%s is refused before anything is done',
    async (origin) => {
      const body = { host, origin, 'content-type': 'text/plain' };
      expect(await statusOf(open, '/v1/chat/completions', body, 'POST')).toBe(403);
      expect(await statusOf(open, '/v1/models', { host, origin }, 'OPTIONS')).toBe(403);
    },
  );

  test('a preflight needs no key, what follows does', async () => {
    const origin = 'https://friend.example';
    const preflight = await ask(locked, '/v1/chat/completions', { host, origin }, 'OPTIONS');
    expect(preflight.statusCode).toBe(204);
    expect(preflight.headers['access-control-allow-headers']).toContain('Authorization');
    const answer = await ask(locked, '/v1/models', { host, origin });
    expect([answer.statusCode, answer.headers['access-control-allow-origin']]).toEqual([
      401,
      origin,
    ]);
  });
});

describe('key', () => {
  const host = 'localhost';

  test.each<[string, Record<string, string>, number]>([
    ['none', {}, 401],
    ['a wrong one', { authorization: 'Bearer another' }, 401],
    ['a part', { authorization: 'Bearer a secre' }, 401],
    ['as a bearer', { authorization: 'Bearer a secret' }, 200],
    ['in lower case', { authorization: 'bearer a secret' }, 200],
    ["as Anthropic's clients send it", { 'x-api-key': 'a secret' }, 200],
  ])('%s: %s', async (_name, headers, status) => {
    for (const path of ['/v1/models', '/cluster/v1/state', '/metrics']) {
      expect(await statusOf(locked, path, { host, ...headers })).toBe(status);
    }
  });

  test('health and the page, which holds no data, are open', async () => {
    expect(await statusOf(locked, '/health', { host })).toBe(200);
    expect(await statusOf(locked, '/', { host })).toBe(200);
    expect(await statusOf(locked, '//', { host })).toBe(401);
    expect(await statusOf(locked, '/health/../v1/models', { host })).toBe(401);
  });
});
