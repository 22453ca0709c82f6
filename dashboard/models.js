import { element, keyedList, setText } from './dom.js';
import { bytes } from './format.js';
import { ask, hasKey, KeyNeeded } from './node-client.js';

/** @typedef {{ id: string, state: string, size_bytes: number }} ListedModel as /v1/models has it */

const list = keyedList(
  element('models'),
  /** @param {ListedModel} model */ ({ id }) => id,
  createModel,
);
const select = element('model', HTMLSelectElement);

/**
 * Shows what is on disk, and offers it to the chat. Throws as `ask` does.
 *
 * @param {AbortSignal} signal
 */
export async function showModels(signal) {
  const response = await ask('/v1/models', { signal });
  /** @type {{ data: ListedModel[] }} */
  const { data } = await response.json();
  list(data);
  element('no-models').hidden = data.length > 0;
  offer(data);
  showExample();
}

/** @param {readonly ListedModel[]} models */
function offer(models) {
  const ids = models.map(({ id }) => id);
  if ([...select.options].map(({ value }) => value).join('\n') === ids.join('\n')) return;
  const loaded = models.find(({ state }) => state === 'ready') ?? models[0];
  const chosen = ids.includes(select.value) ? select.value : loaded?.id;
  select.replaceChildren(...ids.map((id) => new Option(id, id, false, id === chosen)));
}

function createModel() {
  const root = document.createElement('tr');
  const name = root.insertCell();
  name.className = 'name';
  const size = root.insertCell();
  size.className = 'size';
  const state = root.insertCell();
  const button = document.createElement('button');
  button.type = 'button';
  button.className = 'plain';
  button.textContent = 'Load';
  root.insertCell().append(button);
  button.addEventListener('click', () => void load(name.textContent ?? '', button));
  return {
    root,
    /** @param {ListedModel} model */
    update(model) {
      setText(name, model.id);
      setText(size, bytes(model.size_bytes));
      setText(state, model.state);
      state.className = model.state;
      button.setAttribute('aria-label', `Load ${model.id}`);
    },
  };
}

/**
 * Deploys a model with the settings of the form beside it.
 *
 * @param {string} model
 * @param {HTMLButtonElement} button
 */
async function load(model, button) {
  if (!element('load-settings', HTMLFormElement).reportValidity()) return;
  const context = element('context', HTMLInputElement).value;
  const line = element('models-error');
  line.hidden = true;
  button.disabled = true;
  try {
    await ask('/cluster/v1/deployments', {
      method: 'POST',
      body: {
        model,
        ranks: Number(element('ranks', HTMLInputElement).value),
        split: element('split', HTMLSelectElement).value,
        mode: element('mode', HTMLSelectElement).value,
        ...(context === '' ? {} : { context: Number(context) }),
      },
    });
  } catch (error) {
    if (!(error instanceof KeyNeeded)) {
      line.hidden = false;
      setText(line, error instanceof Error ? error.message : String(error));
    }
  }
  button.disabled = false;
}

/** The same request as the chat's for a shell. */
function showExample() {
  setText(element('api-url'), `${location.origin}/v1`);
  const body = JSON.stringify({
    model: select.value,
    messages: [{ role: 'user', content: 'Why is the sky blue?' }],
  });
  const key = hasKey() ? ` -H "Authorization: Bearer $CIDERY_API_KEY"` : '';
  const data = body.replaceAll("'", String.raw`'\''`);
  const example = `curl ${location.origin}/v1/chat/completions${key} -d '${data}'`;
  setText(element('api-example'), example);
}

select.addEventListener('change', showExample);
// Browsers lend the clipboard to pages of this machine and of https only.
element('copy-example').hidden = navigator.clipboard === undefined;
element('copy-example').addEventListener('click', () => void copyExample());

async function copyExample() {
  await navigator.clipboard.writeText(element('api-example').textContent ?? '');
  setText(element('copy-example'), 'Copied');
  setTimeout(() => setText(element('copy-example'), 'Copy'), 2_000);
}
