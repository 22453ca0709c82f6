import type { Fetch } from '../ports/fetch.ts';

/**
 * Node's own fetch: no proxy, no cookies, no cache; connections are kept alive and bounded by who
 * calls it. Redirects are the caller's affair, because what may be sent along depends on where they
 * lead.
 */
export const realFetch: Fetch = (url, init) => fetch(url, { redirect: 'manual', ...init });
