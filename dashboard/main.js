import { startChat } from './chat.js';
import { element, setText } from './dom.js';
import { showInstances } from './instances.js';
import { startLog } from './log.js';
import { showModels } from './models.js';
import { ask, events, hasKey, KeyNeeded, NodeError, setKey } from './node-client.js';
import { showNodes } from './nodes.js';

/** @import { ClusterState } from '../src/node/cluster-state.ts' */

const retryMs = 1_000;
/** The state comes every second; a node that is silent for so long is asleep or out of reach. */
const silentMs = 8_000;
/** What is on disk may change without any change of state. */
const modelsMs = 10_000;
const connection = element('connection');
const content = element('content');
let watching = false;

/** Shows the state until the node goes away; throws why. */
async function watch() {
  const stop = new AbortController();
  let timer = setTimeout(() => stop.abort(), silentMs);
  const heard = () => {
    clearTimeout(timer);
    timer = setTimeout(() => stop.abort(), silentMs);
  };
  const onHide = () => document.hidden && stop.abort();
  document.addEventListener('visibilitychange', onHide);
  try {
    const response = await ask('/cluster/v1/events', { signal: stop.signal });
    let listed = '';
    let listedMs = Number.NEGATIVE_INFINITY;
    for await (const data of events(response, heard)) {
      /** @type {ClusterState} */
      const state = JSON.parse(data);
      show(state);
      const states = state.instances.map(({ id, state: kind }) => `${id} ${kind}`).join();
      if (states === listed && performance.now() - listedMs < modelsMs) continue;
      listed = states;
      listedMs = performance.now();
      await showModels(stop.signal);
    }
  } finally {
    clearTimeout(timer);
    document.removeEventListener('visibilitychange', onHide);
  }
}

/** @param {ClusterState} state */
function show(state) {
  element('login').hidden = true;
  content.hidden = false;
  content.classList.remove('stale');
  connection.className = 'up';
  setText(connection, 'connected');
  showNodes(state.nodes);
  showInstances(state);
}

/** Watches, again and again, while the page is in view, until a key is needed. */
async function keepWatching() {
  if (watching) return;
  watching = true;
  for (;;) {
    await inView();
    let reason = 'the node does not answer';
    try {
      await watch();
    } catch (error) {
      if (error instanceof KeyNeeded) break;
      if (error instanceof NodeError) reason = error.message;
    }
    if (document.hidden) continue;
    content.classList.add('stale');
    connection.className = 'lost';
    setText(connection, `${reason}; trying again…`);
    await new Promise((resolve) => setTimeout(resolve, retryMs));
  }
  watching = false;
  askForKey();
}

/** A page that nobody looks at holds none of the few connections that a browser has for a node. */
async function inView() {
  while (document.hidden) {
    await new Promise((resolve) =>
      document.addEventListener('visibilitychange', resolve, { once: true }),
    );
  }
}

function askForKey() {
  connection.className = 'lost';
  setText(connection, hasKey() ? 'this is not the key' : '');
  content.hidden = true;
  element('login').hidden = false;
  element('key').focus();
}

element('login-form').addEventListener('submit', (event) => {
  event.preventDefault();
  const field = element('key', HTMLInputElement);
  setKey(field.value.trim());
  field.value = '';
  void keepWatching();
});
// What is wrong is shown, also where it stands in details that are closed.
document.addEventListener(
  'invalid',
  ({ target }) => target instanceof Element && target.closest('details')?.setAttribute('open', ''),
  { capture: true },
);
startChat(askForKey);
startLog();
void keepWatching();
