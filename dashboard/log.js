import { element, setText } from './dom.js';
import { ask } from './node-client.js';

const details = element('log', HTMLDetailsElement);
const lines = element('log-lines');
const refreshMs = 2_000;

/** Shows the node's log as long as it is open. */
export function startLog() {
  let timer = 0;
  const refresh = async () => {
    clearTimeout(timer);
    if (!details.open) return;
    await showLog();
    timer = setTimeout(refresh, refreshMs);
  };
  details.addEventListener('toggle', () => void refresh());
}

async function showLog() {
  /** @type {{ lines: { timeMs: number, source: string, text: string }[] }} */
  let log;
  try {
    const response = await ask('/cluster/v1/logs');
    log = await response.json();
  } catch {
    // The head of the page says that the node does not answer, or that it asks for a key.
    return;
  }
  const atEnd = lines.scrollHeight - lines.scrollTop - lines.clientHeight < 40;
  const text = log.lines.map(
    (line) => `${new Date(line.timeMs).toLocaleTimeString()} ${line.source}: ${line.text}`,
  );
  setText(lines, text.join('\n'));
  if (atEnd) lines.scrollTop = lines.scrollHeight;
}
