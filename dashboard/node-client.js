const storedKey = 'cidery-key';
let key = sessionStorage.getItem(storedKey);

/** The node asks for a key, or for another one. */
export class KeyNeeded extends Error {}

/** What the node itself says is wrong, for its reader. */
export class NodeError extends Error {}

export function hasKey() {
  return key !== null;
}

/** @param {string} value kept as long as this tab */
export function setKey(value) {
  key = value;
  sessionStorage.setItem(storedKey, value);
}

/**
 * A request with the key. Throws `KeyNeeded`, and `NodeError` with what the node says.
 *
 * @param {string} path
 * @param {{ method?: string, body?: unknown, signal?: AbortSignal }} [options]
 */
export async function ask(path, { method = 'GET', body, signal } = {}) {
  const response = await fetch(path, {
    method,
    headers: {
      ...(key === null ? {} : { Authorization: `Bearer ${key}` }),
      ...(body === undefined ? {} : { 'Content-Type': 'application/json' }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    signal: signal ?? null,
  });
  if (response.status === 401) throw new KeyNeeded();
  if (response.ok) return response;
  throw new NodeError(sentenceOf(await response.text(), response.status));
}

/**
 * @param {string} text
 * @param {number} status
 */
function sentenceOf(text, status) {
  try {
    return withHint(JSON.parse(text).error);
  } catch {
    return `the answer has the status ${status}`;
  }
}

/**
 * What is wrong, and what to do where that is known.
 *
 * @param {{ message: string, hint?: string | undefined }} error
 */
export function withHint({ message, hint }) {
  return hint ? `${message} (${hint})` : message;
}

/**
 * The data of server-sent events. EventSource would do, if it could send a key.
 *
 * @param {Response} response
 * @param {() => void} [onNews] called with every piece that comes, comments too
 */
export async function* events(response, onNews) {
  if (response.body === null) return;
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    onNews?.();
    const parts = (rest + value).split('\n\n');
    rest = parts.pop() ?? '';
    for (const part of parts) {
      const data = part.split('\n').filter((line) => line.startsWith('data: '));
      if (data.length > 0) yield data.map((line) => line.slice(6)).join('\n');
    }
  }
}
