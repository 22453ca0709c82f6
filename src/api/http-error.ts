import { CideryError, errorMessage } from '../base/error.ts';

/** An error as every adapter of the API shows it, each in its own form. */
export interface HttpError {
  readonly status: 400 | 401 | 403 | 404 | 409 | 413 | 429 | 499 | 500 | 503;
  readonly code: string;
  readonly message: string;
  readonly hint: string | null;
  /** The field of the request that is wrong. */
  readonly field: string | null;
  /** Seconds after which another try makes sense. */
  readonly retryAfterS: number | null;
}

/** A request that is wrong in one of its fields. */
export class FieldError extends CideryError {
  readonly field: string | null;

  constructor(code: string, message: string, field: string | null) {
    super(code, message);
    this.field = field;
  }
}

const statuses: Readonly<Record<string, HttpError['status']>> = {
  model_not_found: 404,
  model_incomplete: 404,
  deployment_not_found: 404,
  not_found: 404,
  prompt_too_long: 400,
  prompt_empty: 400,
  prompt_too_large: 400,
  token_unknown: 400,
  template_refused: 400,
  template_invalid: 400,
  template_failed: 400,
  template_busy: 503,
  template_missing: 400,
  tokenizer_missing: 400,
  template_timeout: 400,
  template_too_large: 400,
  context_too_long: 400,
  split_impossible: 400,
  split_invalid: 400,
  unsupported: 400,
  body_not_json: 400,
  body_too_deep: 400,
  body_too_large: 413,
  key_missing: 401,
  key_wrong: 401,
  host_refused: 403,
  origin_refused: 403,
  model_in_use: 409,
  too_many_requests: 429,
  queue_full: 429,
  insufficient_memory: 503,
  model_loading: 503,
  instance_stopped: 503,
  instance_not_ready: 503,
  node_closing: 503,
  cancelled: 499,
};

/** Seconds that a client should wait where that can be said. */
const retryAfter: Partial<Record<number, number>> = { 429: 1, 503: 10 };

export function httpError(error: unknown): HttpError {
  if (!(error instanceof CideryError)) {
    const message = errorMessage(error);
    const none = { hint: null, field: null, retryAfterS: null };
    return { status: 500, code: 'internal', message, ...none };
  }
  const status = error instanceof FieldError ? 400 : (statuses[error.code] ?? 500);
  return {
    status,
    code: error.code,
    message: error.message,
    hint: error.hint ?? null,
    field: error instanceof FieldError ? error.field : null,
    retryAfterS: retryAfter[status] ?? null,
  };
}
