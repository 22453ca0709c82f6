import { createHash, timingSafeEqual } from 'node:crypto';
import { isIP } from 'node:net';
import { CideryError } from '../base/error.ts';
import { pageFolder } from './page.ts';

export interface GuardSettings {
  /** Null: none is asked for; only for listeners on loopback. */
  readonly apiKey: string | null;
  /** Names that a Host header may hold besides localhost and plain addresses. */
  readonly hostNames: readonly string[];
  /** Origins of web pages that may call, besides the node's own page. */
  readonly origins: readonly string[];
}

/**
 * Refuses what no user of this machine has sent: a Host header with a foreign name (a web page that
 * has rebound its own name to this address), a page of another origin.
 * Throws `host_refused`, `origin_refused`.
 */
export function guardSource(request: Request, settings: GuardSettings): void {
  const host = request.headers.get('host') ?? '';
  if (!isOwnHost(host, settings.hostNames)) {
    throw new CideryError('host_refused', `requests for host '${host}' are not answered here`, {
      hint: 'use the address that the node printed, or allow the name with CIDERY_HOSTS',
    });
  }
  const origin = request.headers.get('origin');
  if (origin !== null && !isOwnOrigin(origin, host, settings.origins)) {
    throw new CideryError('origin_refused', `pages of ${origin} may not call this node`, {
      hint: 'allow the origin with CIDERY_ORIGINS',
    });
  }
}

/**
 * Refuses a request without the node's key. `/health` needs none, nor does the page, which holds no
 * data and asks for the key itself.
 * Throws `key_missing`, `key_wrong`.
 */
export function guardKey(request: Request, { apiKey }: GuardSettings): void {
  if (apiKey === null) return;
  const { pathname } = new URL(request.url);
  if (openPaths.has(pathname) || pathname.startsWith(pageFolder)) return;
  checkKey(request, apiKey);
}

const openPaths: ReadonlySet<string> = new Set(['/health', '/']);

/** True for an origin on the list: only such a page is told that it may read the answers. */
export function isListedOrigin(origin: string, origins: readonly string[]): boolean {
  return origins.includes('*') || origins.includes(origin);
}

function isOwnHost(host: string, names: readonly string[]): boolean {
  const name = hostName(host);
  if (name === null) return false;
  // A plain address cannot be rebound.
  if (isIP(name.replace(/^\[|\]$/g, '')) !== 0) return true;
  return name === 'localhost' || name.endsWith('.localhost') || names.includes(name);
}

function hostName(host: string): string | null {
  try {
    return new URL(`http://${host}`).hostname.toLowerCase();
  } catch {
    return null;
  }
}

function isOwnOrigin(origin: string, host: string, origins: readonly string[]): boolean {
  return origin === `http://${host}` || isListedOrigin(origin, origins);
}

function checkKey(request: Request, key: string): void {
  const bearer = /^Bearer\s+(.+)$/i.exec(request.headers.get('authorization') ?? '')?.[1];
  const given = bearer ?? request.headers.get('x-api-key');
  if (given === null || given === undefined) {
    throw new CideryError('key_missing', 'this node asks for a key', {
      hint: 'send it as `Authorization: Bearer KEY`',
    });
  }
  if (!timingSafeEqual(digest(given.trim()), digest(key))) {
    throw new CideryError('key_wrong', 'the key is not the one of this node');
  }
}

/** Digests have one length, so that the comparison tells nothing about the key. */
function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
