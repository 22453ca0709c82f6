import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { type AddressInfo, isIPv6, type Socket } from 'node:net';
import { getRequestListener } from '@hono/node-server';
import { CideryError, errorMessage, invariant } from '../base/error.ts';
import { errnoOf } from './disk-error.ts';

export interface HttpServerLimits {
  /** Connections at once; further ones are closed at once. */
  readonly connectionsMax: number;
  /** From a connection's start, or a request's first byte, to the end of its headers. */
  readonly headersTimeoutMs: number;
  /** From a request's first byte to the end of its body. */
  readonly bodyTimeoutMs: number;
  /** An idle connection is kept this long for its next request. */
  readonly idleConnectionMs: number;
  /** A client that has taken nothing for this long, while bytes wait for it, is cut off. */
  readonly clientStallMs: number;
  /** Answers under way are waited for this long when the server closes. */
  readonly closeGraceMs: number;
}

export interface HttpServerOptions {
  readonly host: string;
  /** 0: any free one. */
  readonly port: number;
  readonly limits: HttpServerLimits;
}

export interface HttpServer {
  /** `http://HOST:PORT` as a client on this machine reaches it. */
  readonly url: string;
  readonly port: number;
  /**
   * Takes no new connections, lets answers under way end for `closeGraceMs`, then cuts them off.
   */
  close(): Promise<void>;
}

/** How often timeouts of requests are looked after. */
const checkIntervalMs = 500;

/**
 * Serves a fetch-style handler over HTTP/1.1. The signal of a request is aborted when its client
 * leaves or is cut off before it has the whole answer.
 * Errors: `port_taken`, `address_unavailable`, else `listen_failed`.
 */
export async function listen(
  handler: (request: Request) => Response | Promise<Response>,
  options: HttpServerOptions,
): Promise<HttpServer> {
  const { host, port, limits } = options;
  const answer = getRequestListener((request) => handler(request), {
    overrideGlobalObjects: false,
  });
  const server = createServer({
    headersTimeout: limits.headersTimeoutMs,
    requestTimeout: limits.bodyTimeoutMs,
    keepAliveTimeout: limits.idleConnectionMs,
    connectionsCheckingInterval: Math.min(checkIntervalMs, limits.headersTimeoutMs),
  });
  server.maxConnections = limits.connectionsMax;
  const answering = new Set<Socket>();
  server.on('request', (incoming: IncomingMessage, outgoing: ServerResponse) => {
    answering.add(incoming.socket);
    outgoing.once('close', () => answering.delete(incoming.socket));
    void answer(incoming, outgoing);
  });
  cutStalledClients(server, answering, limits.clientStallMs);
  await start(server, host, port);
  const bound = server.address();
  invariant(bound !== null && typeof bound !== 'string', 'a listening server has an address');
  return {
    url: `http://${urlHost(host, bound)}:${bound.port}`,
    port: bound.port,
    close: () => close(server, limits.closeGraceMs),
  };
}

/**
 * A socket's timer starts anew with every read and every write that the system has taken a part of,
 * so when it ends while bytes wait, the client took none of them. Between requests the same timer
 * ends idle connections.
 */
function cutStalledClients(
  server: Server,
  answering: ReadonlySet<Socket>,
  clientStallMs: number,
): void {
  const used = new WeakSet<Socket>();
  server.on('request', (incoming: IncomingMessage) => used.add(incoming.socket));
  server.setTimeout(clientStallMs, (socket) => {
    const idle = used.has(socket) && !answering.has(socket);
    if (idle || socket.writableLength > 0) socket.destroy();
  });
}

async function start(server: Server, host: string, port: number): Promise<void> {
  try {
    server.listen({ host, port });
    await once(server, 'listening');
  } catch (error) {
    throw listenError(error, host, port);
  }
}

function listenError(error: unknown, host: string, port: number): CideryError {
  const errno = errnoOf(error);
  if (errno === 'EADDRINUSE') {
    return new CideryError('port_taken', `port ${port} of ${host} is taken`, {
      hint: 'choose another with --port, or --port 0 for any free one',
      cause: error,
    });
  }
  if (errno === 'EADDRNOTAVAIL' || errno === 'ENOTFOUND' || errno === 'EAI_AGAIN') {
    return new CideryError('address_unavailable', `${host} is no address of this machine`, {
      hint: 'give --host one of its addresses, or leave it out',
      cause: error,
    });
  }
  return new CideryError('listen_failed', `cannot listen on ${host}: ${errorMessage(error)}`, {
    hint: errno === 'EACCES' ? 'ports below 1024 need special rights; choose another' : 'see above',
    cause: error,
  });
}

/** A name stays the name; what means every address is reached as loopback from here. */
function urlHost(host: string, bound: AddressInfo): string {
  if (host === '0.0.0.0') return '127.0.0.1';
  if (bound.address === '::') return '[::1]';
  return isIPv6(host) ? `[${host}]` : host;
}

async function close(server: Server, graceMs: number): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  server.closeIdleConnections();
  const cut = setTimeout(() => server.closeAllConnections(), graceMs);
  await closed;
  clearTimeout(cut);
}
