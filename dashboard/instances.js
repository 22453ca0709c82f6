import { copyOf, element, keyedList, part, setText } from './dom.js';
import { bytes, counted, grouped, seconds } from './format.js';
import { ask, KeyNeeded, withHint } from './node-client.js';

/** @import { ClusterState, InstanceView } from '../src/node/cluster-state.ts' */

const trendMs = 60_000;
const list = keyedList(
  element('instances'),
  /** @param {InstanceView} instance */ ({ id }) => id,
  createInstance,
);

/** @type {ReadonlyMap<string, string>} names of nodes by their ids */
let nodeNames = new Map();

/** @param {ClusterState} state */
export function showInstances({ nodes, instances }) {
  nodeNames = new Map(nodes.map(({ id, name }) => [id, name]));
  list(instances);
  element('no-instances').hidden = instances.length > 0;
}

function createInstance() {
  const root = copyOf('instance-template');
  const showRanks = keyedList(part(root, 'ranks'), rankKey, createRank);
  const showTrend = trend(root);
  const end = part(root, 'end', HTMLButtonElement);
  /** @type {InstanceView | undefined} */
  let shown;
  end.addEventListener('click', () => shown && void endInstance(shown, end));
  return {
    root,
    /** @param {InstanceView} instance */
    update(instance) {
      shown = instance;
      setText(part(root, 'model'), instance.model);
      const state = part(root, 'state');
      setText(state, instance.state);
      state.className = `state ${instance.state}`;
      const { error } = instance;
      part(root, 'error').hidden = error === null;
      setText(part(root, 'error'), error === null ? '' : withHint(error));
      setText(end, instance.state === 'failed' ? 'Remove' : 'Unload');
      end.setAttribute('aria-label', `${end.textContent} ${instance.model}`);
      part(root, 'facts').hidden = error !== null;
      showProgress(root, instance);
      showFacts(root, instance);
      showTrend(instance.measured.tokensPerS);
      showRanks(instance.ranks);
    },
  };
}

/**
 * @param {HTMLElement} root
 * @param {InstanceView} instance
 */
function showProgress(root, { model, progress }) {
  part(root, 'loading').hidden = progress === null;
  if (progress === null) return;
  const bar = part(root, 'progress', HTMLProgressElement);
  bar.max = progress.totalBytes || 1;
  bar.value = progress.doneBytes;
  bar.setAttribute('aria-label', `loading ${model}`);
  const text = `${bytes(progress.doneBytes)} of ${bytes(progress.totalBytes)} read`;
  setText(part(root, 'progress-text'), progress.totalBytes === 0 ? 'starting' : text);
}

/**
 * @param {HTMLElement} root
 * @param {InstanceView} instance
 */
function showFacts(root, { plan, measured, ranks, contextLength }) {
  const memoryBytes = ranks.reduce((sum, rank) => sum + rank.memoryBytes, 0);
  const facts = {
    speed: `${measured.tokensPerS.toFixed(1)} tok/s`,
    memory: memoryBytes === 0 ? '–' : bytes(memoryBytes),
    predicted: `predicted ${bytes(plan.predicted.memoryBytes)}`,
    requests: `${measured.running} running`,
    waiting: `${measured.waiting} waiting`,
    generated: `${grouped(measured.generatedTokens)} written`,
    prompted: `${grouped(measured.promptTokens)} read`,
    plan: plan.kind === 'single' ? 'one rank' : `${plan.kind}, ${counted(plan.ranks, 'rank')}`,
    executor: `${plan.executor}, ${plan.mode}`,
    context: contextLength === null ? '–' : `${grouped(contextLength)} tokens`,
    loaded: measured.loadMs === null ? '' : `loaded in ${seconds(measured.loadMs)}`,
  };
  for (const [name, text] of Object.entries(facts)) setText(part(root, name), text);
}

/**
 * Draws the speeds of the last minute.
 *
 * @param {HTMLElement} root
 */
function trend(root) {
  /** @type {{ atMs: number, value: number }[]} */
  let samples = [];
  return (/** @type {number} */ value) => {
    const nowMs = performance.now();
    samples = [...samples, { atMs: nowMs, value }].filter(({ atMs }) => nowMs - atMs <= trendMs);
    const most = Math.max(...samples.map((sample) => sample.value)) || 1;
    const points = samples.map((sample) => {
      const x = 60 - (nowMs - sample.atMs) / 1000;
      return `${x.toFixed(1)},${(15 - (14 * sample.value) / most).toFixed(1)}`;
    });
    root.querySelector('polyline')?.setAttribute('points', points.join(' '));
  };
}

/** @param {InstanceView['ranks'][number]} rank */
function rankKey({ rank }) {
  return `${rank}`;
}

function createRank() {
  const root = document.createElement('tr');
  const cells = Array.from({ length: 5 }, () => root.insertCell());
  return {
    root,
    /** @param {InstanceView['ranks'][number]} rank */
    update({ rank, node, pid, state, memoryBytes }) {
      const name = nodeNames.get(node) ?? node;
      const texts = [`${rank}`, name, `${pid ?? '–'}`, state, bytes(memoryBytes)];
      for (const [index, cell] of cells.entries()) setText(cell, texts[index] ?? '');
      if (cells[1]) cells[1].className = 'name';
      if (cells[3]) cells[3].className = state;
    },
  };
}

/**
 * @param {InstanceView} instance
 * @param {HTMLButtonElement} button
 */
async function endInstance({ deployment, model, measured }, button) {
  const requests = measured.running + measured.waiting;
  const question = `${model} has ${counted(requests, 'request')}. Unload it all the same?`;
  if (requests > 0 && !confirm(question)) return;
  const line = element('instances-error');
  line.hidden = true;
  button.disabled = true;
  try {
    await ask(`/cluster/v1/deployments/${encodeURIComponent(deployment)}`, { method: 'DELETE' });
    // The button goes with its instance; the keyboard's user stays in this section.
    element('instances-title').focus();
  } catch (error) {
    button.disabled = false;
    if (error instanceof KeyNeeded) return;
    line.hidden = false;
    setText(line, error instanceof Error ? error.message : String(error));
  }
}
