import { HubError } from './access.ts';

const repeat = 'try again in a while; what has come is kept';

/**
 * Milliseconds that an answer asks to wait: `Retry-After` (seconds or a date), else `RateLimit`'s
 * `t=`.
 */
export function retryAfterMs(headers: Headers, nowMs: number): number | null {
  const text = headers.get('retry-after')?.trim() ?? '';
  if (/^\d{1,9}$/.test(text)) return Number(text) * 1000;
  const date = text === '' ? Number.NaN : Date.parse(text);
  if (!Number.isNaN(date)) return Math.max(0, date - nowMs);
  const reset = /(?:^|;)\s*t=(\d{1,9})\b/.exec(headers.get('ratelimit') ?? '')?.[1];
  return reset === undefined ? null : Number(reset) * 1000;
}

function unauthorized(subject: string, hasToken: boolean): HubError {
  return hasToken
    ? new HubError('hub_unauthorized', `the hub does not accept the token for ${subject}`, {
        hint: 'check HF_TOKEN: it may have expired or lack the right to read this model',
      })
    : new HubError('hub_unauthorized', `the hub wants a token for ${subject}`, {
        hint: 'check the spelling; for a private or gated model set HF_TOKEN',
      });
}

function rateLimited(headers: Headers, nowMs: number): HubError {
  const waitMs = retryAfterMs(headers, nowMs);
  const when = waitMs === null ? 'later' : `in ${Math.ceil(waitMs / 1000)} s`;
  return new HubError('hub_rate_limited', 'the hub has had too many requests from here', {
    hint: `try again ${when}; with HF_TOKEN set the hub allows more`,
    retry: true,
    retryAfterMs: waitMs,
  });
}

function gated(subject: string, endpoint: string): HubError {
  return new HubError('hub_forbidden', `the hub does not give ${subject} to this account`, {
    hint: `accept its licence at ${endpoint}/${subject} and set HF_TOKEN to that account's`,
  });
}

export interface StatusContext {
  /** What was asked for, as the user named it: `org/name`. */
  readonly subject: string;
  readonly endpoint: string;
  readonly hasToken: boolean;
  /** False for an answer from another host that the hub sent us to. */
  readonly fromHub: boolean;
  readonly nowMs: number;
}

/**
 * The error that an answer's status stands for; null for 200 and 206. Codes: `hub_unauthorized`,
 * `hub_forbidden`, `model_not_found`, `hub_rate_limited`, `download_wrong_length`,
 * `hub_unavailable`.
 */
export function statusError(response: Response, context: StatusContext): HubError | null {
  const { status, headers } = response;
  const { subject } = context;
  if (status === 200 || status === 206) return null;
  if (status === 429) return rateLimited(headers, context.nowMs);
  if (status === 416) {
    return new HubError('download_wrong_length', `a file of ${subject} is shorter than listed`, {
      hint: 'the hub or a cache before it is broken; try again later',
    });
  }
  // A signed address that has run out is renewed by asking the hub again.
  const retry = status >= 500 || status === 408 || !context.fromHub;
  if (!retry) {
    const errorCode = headers.get('x-error-code');
    if (errorCode === 'GatedRepo' || status === 403) return gated(subject, context.endpoint);
    if (errorCode === 'RevisionNotFound') {
      return new HubError('model_not_found', `${subject} has no such revision`, {
        hint: 'check the part after the @',
      });
    }
    if (errorCode === 'RepoNotFound' || status === 404) {
      return new HubError('model_not_found', `the hub has no ${subject}`, {
        hint: 'check the spelling; a private model needs HF_TOKEN',
      });
    }
    if (status === 401) return unauthorized(subject, context.hasToken);
  }
  const who = context.fromHub ? 'the hub' : "the hub's file server";
  return new HubError('hub_unavailable', `${who} answered ${status} for ${subject}`, {
    hint: repeat,
    retry,
    retryAfterMs: status === 503 ? retryAfterMs(headers, context.nowMs) : null,
  });
}
