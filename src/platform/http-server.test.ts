import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import { errorCode } from '../base/error.ts';
import { type HttpServer, type HttpServerLimits, listen } from './http-server.ts';

const limits: HttpServerLimits = {
  connectionsMax: 4,
  headersTimeoutMs: 300,
  bodyTimeoutMs: 600,
  idleConnectionMs: 400,
  clientStallMs: 200,
  closeGraceMs: 300,
};

const open: { close(): Promise<void> }[] = [];
const sockets: Socket[] = [];

afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  await Promise.all(open.splice(0).map((server) => server.close()));
});

async function serve(
  handler: (request: Request) => Response | Promise<Response>,
): Promise<HttpServer> {
  const server = await listen(handler, { host: '127.0.0.1', port: 0, limits });
  open.push(server);
  return server;
}

async function dial(server: HttpServer): Promise<Socket> {
  const socket = connect(server.port, '127.0.0.1');
  socket.on('error', () => {});
  sockets.push(socket);
  await once(socket, 'connect');
  return socket;
}

/** A body of megabytes that never ends, and the promise of its end. */
function endless(): { body: ReadableStream<Uint8Array>; cancelled: Promise<void> } {
  let end: () => void = () => {};
  const cancelled = new Promise<void>((resolve) => (end = resolve));
  const body = new ReadableStream<Uint8Array>({
    pull: (controller) => controller.enqueue(new Uint8Array(1 << 20)),
    cancel: () => end(),
  });
  return { body, cancelled };
}

describe('http server', () => {
  test('answers, and hands over method, path, headers and body', async () => {
    const server = await serve(async (request) => {
      const { method, url } = request;
      return Response.json({ method, path: new URL(url).pathname, body: await request.text() });
    });
    const response = await fetch(`${server.url}/a`, { method: 'POST', body: 'hello' });
    expect(await response.json()).toEqual({ method: 'POST', path: '/a', body: 'hello' });
  });

  test('a client that leaves aborts the signal of its request and cancels the body', async () => {
    const { body, cancelled } = endless();
    let aborted: Promise<unknown> = Promise.resolve();
    const server = await serve((request) => {
      aborted = once(request.signal, 'abort');
      return new Response(body);
    });
    const socket = await dial(server);
    socket.write('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n');
    await once(socket, 'data');
    socket.destroy();
    await Promise.all([aborted, cancelled]);
  });

  test('a client that leaves while the answer is being prepared aborts the signal', async () => {
    let begun: () => void = () => {};
    const started = new Promise<void>((resolve) => (begun = resolve));
    let aborted: Promise<unknown> = Promise.resolve();
    const server = await serve(async (request) => {
      await request.text();
      aborted = once(request.signal, 'abort');
      begun();
      await aborted;
      return new Response('too late');
    });
    const socket = await dial(server);
    socket.write('POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}');
    await started;
    socket.destroy();
    await aborted;
  });

  test('a client that reads nothing is cut off; one that pauses for less is not', async () => {
    const { body, cancelled } = endless();
    const server = await serve(() => new Response(body));
    const socket = await dial(server);
    socket.write('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n');
    await once(socket, 'data');
    for (let pause = 0; pause < 4; pause++) {
      socket.pause();
      await new Promise((resolve) => setTimeout(resolve, limits.clientStallMs / 2));
      socket.resume();
      await once(socket, 'data');
    }
    expect(socket.destroyed).toBe(false);
    socket.pause();
    await cancelled;
  });

  test('an answer that is long in coming is no stall', async () => {
    const server = await serve(async () => {
      await new Promise((resolve) => setTimeout(resolve, 3 * limits.clientStallMs));
      return new Response('late');
    });
    expect(await (await fetch(server.url)).text()).toBe('late');
  });

  test.each([
    ['headers that drip', 'GET / HTTP/1.1\r\nHost:'],
    ['a body that does not come', 'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{'],
  ])('%s get 408 and the connection ends', async (_name, text) => {
    const server = await serve(async (request) => new Response(await request.text()));
    const socket = await dial(server);
    socket.write(text);
    const [answer] = await once(socket, 'data');
    expect(String(answer)).toMatch(/^HTTP\/1.1 408 /);
    await once(socket, 'close');
  });

  test('a connection that says nothing, or nothing more, is closed', async () => {
    const server = await serve(() => new Response('hello'));
    const silent = await dial(server);
    const idle = await dial(server);
    idle.write('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n');
    silent.resume();
    idle.resume();
    await Promise.all([once(silent, 'close'), once(idle, 'close')]);
  });

  test('connections beyond the limit are closed at once', async () => {
    const server = await serve(() => new Response('hello'));
    for (let count = 0; count < limits.connectionsMax; count++) await dial(server);
    const extra = await dial(server);
    await once(extra, 'close');
  });

  test('closing lets a short answer end and cuts off one that goes on', async () => {
    const { body, cancelled } = endless();
    const server = await serve(async (request) => {
      if (new URL(request.url).pathname === '/endless') return new Response(body);
      await new Promise((resolve) => setTimeout(resolve, 100));
      return new Response('whole');
    });
    const socket = await dial(server);
    socket.write('GET /endless HTTP/1.1\r\nHost: localhost\r\n\r\n');
    await once(socket, 'data');
    socket.resume();
    const short = fetch(`${server.url}/short`);
    await new Promise((resolve) => setTimeout(resolve, 50));
    open.splice(0);
    const closed = server.close();
    expect(await (await short).text()).toBe('whole');
    await Promise.all([closed, cancelled]);
    await expect(fetch(server.url)).rejects.toThrow();
  });

  test('a taken port and an address of another machine are errors that say so', async () => {
    const server = await serve(() => new Response(''));
    const handler = () => new Response('');
    const taken = listen(handler, { host: '127.0.0.1', port: server.port, limits });
    expect(errorCode(await taken.catch((error: unknown) => error))).toBe('port_taken');
    const foreign = listen(handler, { host: '192.0.2.1', port: 0, limits });
    expect(errorCode(await foreign.catch((error: unknown) => error))).toBe('address_unavailable');
  });
});
