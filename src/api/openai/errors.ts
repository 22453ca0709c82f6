import { httpError } from '../http-error.ts';

/** OpenAI's own names for what its clients tell apart. */
const codes: Readonly<Record<string, string>> = {
  prompt_too_long: 'context_length_exceeded',
  too_many_requests: 'rate_limit_exceeded',
  queue_full: 'rate_limit_exceeded',
  key_missing: 'invalid_api_key',
  key_wrong: 'invalid_api_key',
  token_unknown: 'invalid_value',
};

const promptCodes: ReadonlySet<string> = new Set([
  'prompt_too_long',
  'prompt_empty',
  'prompt_too_large',
]);

/** An error in OpenAI's form; `promptField` is the one that holds the prompt in this request. */
export function errorBody(thrown: unknown, promptField = 'messages'): object {
  const error = httpError(thrown);
  const message = error.hint === null ? error.message : `${error.message} (${error.hint})`;
  const field = error.field ?? (error.code === 'model_not_found' ? 'model' : null);
  return {
    error: {
      message,
      type: errorType(error.status),
      param: promptCodes.has(error.code) ? promptField : field,
      code: codes[error.code] ?? error.code,
    },
  };
}

function errorType(status: number): string {
  if (status === 401) return 'authentication_error';
  if (status === 403) return 'permission_error';
  if (status === 429) return 'rate_limit_error';
  return status >= 500 ? 'server_error' : 'invalid_request_error';
}
