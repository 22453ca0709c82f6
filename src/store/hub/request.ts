import { CideryError, errorMessage } from '../../base/error.ts';
import { limits } from '../../base/limits.ts';
import { type HubAccess, HubError } from './access.ts';
import { StallGuard } from './stall-guard.ts';
import { statusError } from './status-error.ts';

export interface HubRequest {
  readonly url: string;
  readonly method: 'GET' | 'HEAD';
  /** The model it is for, as messages name it. */
  readonly subject: string;
  readonly headers?: Readonly<Record<string, string>>;
  /**
   * HEAD of a file: the headers that count are the hub's own, before it sends us to another host.
   */
  readonly stayOnHub?: boolean;
}

/** An answer with status 200 or 206 (or 3xx where `stayOnHub` ended at a redirect). */
export interface HubAnswer {
  readonly response: Response;
  /** The body's chunks; a broken line is a `hub_unavailable`, a silent one a `download_stalled`. */
  chunks(): AsyncGenerator<Uint8Array, void, void>;
}

function badAnswer(subject: string, what: string): HubError {
  return new HubError('hub_bad_answer', `the hub's answer for ${subject} makes no sense: ${what}`, {
    hint: 'check HF_ENDPOINT; something else than a model hub may answer there',
  });
}

/** What a failed fetch or read means: the caller's abort, a stall, or a broken line. */
function lineError(error: unknown, guard: StallGuard, subject: string): unknown {
  if (guard.signal.aborted) return guard.signal.reason;
  if (error instanceof CideryError) return error;
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  return new HubError('hub_unavailable', `the line to the hub broke: ${errorMessage(cause)}`, {
    hint: `check the connection, then pull ${subject} again; what has come is kept`,
    cause: error,
    retry: true,
  });
}

function isLoopback(url: URL): boolean {
  return /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/.test(url.hostname);
}

/**
 * Headers for an address: the token goes to the hub's own origin only, and never in the clear over
 * a network.
 */
function headersFor(access: HubAccess, request: HubRequest, url: URL): Record<string, string> {
  const headers: Record<string, string> = {
    'user-agent': 'cidery',
    // A range of a compressed body would be a range of something else.
    'accept-encoding': 'identity',
    ...request.headers,
  };
  const isHub = url.origin === new URL(access.settings.endpoint).origin;
  const isPrivate = url.protocol === 'https:' || isLoopback(url);
  if (access.token !== null && isHub && isPrivate) headers.authorization = `Bearer ${access.token}`;
  return headers;
}

/** Where a redirect leads; refuses other schemes, and a step down from https. */
function redirectTarget(response: Response, from: URL, subject: string): URL {
  const location = response.headers.get('location');
  if (location === null || !URL.canParse(location, from.href)) {
    throw badAnswer(subject, `a redirect (${response.status}) without a usable address`);
  }
  const target = new URL(location, from);
  const allowed = from.protocol === 'https:' ? ['https:'] : ['http:', 'https:'];
  if (!allowed.includes(target.protocol)) {
    throw badAnswer(subject, `a redirect from ${from.protocol} to ${target.protocol}`);
  }
  return target;
}

/**
 * Lets go of what is left of a body. Not waited for: when it meets an abort, the cancel of Node
 * 20's fetch may never settle; and a body that has broken already needs no more dropping.
 */
function dropBody(response: Response): void {
  response.body?.cancel().catch(() => undefined);
}

async function follow(
  access: HubAccess,
  request: HubRequest,
  guard: StallGuard,
): Promise<{ response: Response; url: URL }> {
  const hub = new URL(access.settings.endpoint);
  let url = new URL(request.url);
  for (let step = 0; step <= limits.hubMaxRedirects; step++) {
    const response = await access.ports.fetch(url.href, {
      method: request.method,
      headers: headersFor(access, request, url),
      redirect: 'manual',
      signal: guard.signal,
    });
    if (![301, 302, 303, 307, 308].includes(response.status)) return { response, url };
    dropBody(response);
    const target = redirectTarget(response, url, request.subject);
    if (request.stayOnHub === true && target.origin !== hub.origin) return { response, url };
    url = target;
  }
  throw badAnswer(request.subject, `more than ${limits.hubMaxRedirects} redirects`);
}

async function* readChunks(
  response: Response,
  guard: StallGuard,
  subject: string,
): AsyncGenerator<Uint8Array, void, void> {
  const reader = response.body?.getReader();
  if (reader === undefined) return;
  try {
    for (;;) {
      const { value } = await guard.unlessAborted(reader.read()).catch((error: unknown) => {
        throw lineError(error, guard, subject);
      });
      if (value === undefined) return;
      guard.received(value.length);
      yield value;
    }
  } finally {
    reader.releaseLock();
  }
}

/**
 * One request with its redirects; `use` gets a good answer and may read its body. Whatever happens,
 * the connection is given back or dropped afterwards.
 * Errors: those of `statusError`, `hub_bad_answer`, `hub_unavailable`, `download_stalled`, the
 * signal's reason.
 */
export async function withAnswer<T>(
  access: HubAccess,
  request: HubRequest,
  signal: AbortSignal,
  use: (answer: HubAnswer) => Promise<T>,
): Promise<T> {
  signal.throwIfAborted();
  const guard = new StallGuard(access.ports.clock, access.tuning, signal);
  try {
    const following = guard.unlessAborted(follow(access, request, guard));
    const { response, url } = await following.catch((error: unknown) => {
      throw lineError(error, guard, request.subject);
    });
    guard.restart();
    const { endpoint } = access.settings;
    const failure =
      request.stayOnHub === true && response.status >= 300 && response.status < 400
        ? null
        : statusError(response, {
            subject: request.subject,
            endpoint,
            hasToken: access.token !== null,
            fromHub: url.origin === new URL(endpoint).origin,
            nowMs: access.ports.clock.now(),
          });
    if (failure !== null) {
      dropBody(response);
      throw failure;
    }
    const chunks = readChunks(response, guard, request.subject);
    try {
      return await use({ response, chunks: () => chunks });
    } finally {
      await chunks.return();
      dropBody(response);
    }
  } finally {
    guard.end();
  }
}
