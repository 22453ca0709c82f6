import { copyOf, element, part, setText } from './dom.js';
import { counted, seconds } from './format.js';
import { markdownView } from './markdown.js';
import { ask, events, KeyNeeded, NodeError } from './node-client.js';

/** @typedef {{ role: 'system' | 'user' | 'assistant', content: string }} Message */
/**
 * An event of /v1/chat/completions, as far as it is read here.
 * @typedef {object} Chunk
 * @property {{ delta?: { content?: string }, finish_reason?: string | null }[]} choices
 * @property {{ completion_tokens: number } | null} [usage]
 * @property {{ message: string }} [error]
 */

const prompt = element('prompt', HTMLTextAreaElement);
const form = element('chat', HTMLFormElement);
const messages = element('messages');
/** @type {Message[]} what was said so far */
let conversation = [];
/** @type {AbortController | null} */
let answering = null;

/**
 * Makes the chat answer its form.
 *
 * @param {() => void} onKeyNeeded
 */
export function startChat(onKeyNeeded) {
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    if (answering === null) void exchange().catch(onKeyNeeded);
  });
  prompt.addEventListener('keydown', (event) => {
    if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    form.requestSubmit();
  });
  element('stop').addEventListener('click', () => answering?.abort());
  element('clear').addEventListener('click', () => {
    conversation = [];
    messages.replaceChildren();
    showState();
    prompt.focus();
  });
}

/** Sends the message and shows the answer as it comes. Throws `KeyNeeded`. */
async function exchange() {
  const model = element('model', HTMLSelectElement).value;
  const content = prompt.value;
  const asked = addMessage('user', 'you');
  setText(part(asked, 'said'), content);
  const answer = addAnswer(model);
  const history = [...conversation];
  conversation.push({ role: 'user', content });
  prompt.value = '';
  answering = new AbortController();
  const { signal } = answering;
  showState();
  try {
    setText(answer.facts, 'waiting for the first token…');
    await receive(answer, requestFor(model, history, content), signal);
    conversation.push({ role: 'assistant', content: answer.text });
  } catch (error) {
    if (answer.text === '') {
      // As if it had never been sent: the message goes back to where it was written.
      conversation = history;
      prompt.value ||= content;
    } else conversation.push({ role: 'assistant', content: answer.text });
    if (error instanceof KeyNeeded) {
      asked.remove();
      answer.root.remove();
      throw error;
    }
    fail(answer, error, signal.aborted);
  } finally {
    answering = null;
    showState();
  }
}

/** @typedef {ReturnType<typeof addAnswer>} Answer */

/**
 * An answer on the screen, as far as it has come.
 *
 * @param {string} model
 */
function addAnswer(model) {
  const root = addMessage('assistant', model);
  const show = markdownView(part(root, 'said'));
  const answer = {
    root,
    facts: part(root, 'facts'),
    text: '',
    /** @param {string} piece */
    append(piece) {
      answer.text += piece;
      // What is read at the end of the list stays in view.
      const distance = messages.scrollHeight - messages.scrollTop - messages.clientHeight;
      show(answer.text);
      if (distance < 60) messages.scrollTop = messages.scrollHeight;
    },
  };
  return answer;
}

/**
 * @param {string} model
 * @param {readonly Message[]} history
 * @param {string} content
 */
function requestFor(model, history, content) {
  const system = element('system', HTMLTextAreaElement).value.trim();
  const most = element('max-tokens', HTMLInputElement).value;
  return {
    model,
    messages: [
      ...(system === '' ? [] : [{ role: 'system', content: system }]),
      ...history,
      { role: 'user', content },
    ],
    temperature: Number(element('temperature', HTMLInputElement).value),
    top_p: Number(element('top-p', HTMLInputElement).value),
    ...(most === '' ? {} : { max_tokens: Number(most) }),
    stream: true,
    stream_options: { include_usage: true },
  };
}

/**
 * @param {Answer} answer
 * @param {object} body
 * @param {AbortSignal} signal
 */
async function receive(answer, body, signal) {
  const { facts } = answer;
  const askedMs = performance.now();
  let firstMs = 0;
  let lastMs = 0;
  let finish = '';
  const response = await ask('/v1/chat/completions', { method: 'POST', body, signal });
  for await (const data of events(response)) {
    if (data === '[DONE]') return;
    /** @type {Chunk} */
    const { choices, usage, error } = JSON.parse(data);
    if (error) throw new NodeError(error.message);
    finish = choices[0]?.finish_reason ?? finish;
    const text = choices[0]?.delta?.content;
    if (text) {
      lastMs = performance.now();
      if (firstMs === 0) {
        firstMs = lastMs;
        setText(facts, `first token after ${seconds(firstMs - askedMs)}`);
      }
      answer.append(text);
    }
    if (usage) {
      const times = { askedMs, firstMs, lastMs };
      setText(facts, summary(usage.completion_tokens, times, finish));
    }
  }
  throw new NodeError('the answer has broken off');
}

/**
 * @param {number} tokens
 * @param {{ askedMs: number, firstMs: number, lastMs: number }} times
 * @param {string} finish why it ended
 */
function summary(tokens, { askedMs, firstMs, lastMs }, finish) {
  const lines = [counted(tokens, 'token')];
  if (firstMs > 0) lines.unshift(`first token after ${seconds(firstMs - askedMs)}`);
  if (tokens > 1 && lastMs > firstMs) {
    lines.push(`${(((tokens - 1) * 1000) / (lastMs - firstMs)).toFixed(1)} tok/s`);
  }
  if (finish === 'length') lines.push('cut at the most tokens that it may have');
  return lines.join(' · ');
}

/**
 * @param {Answer} answer
 * @param {unknown} error
 * @param {boolean} stopped by the user
 */
function fail({ facts }, error, stopped) {
  if (!stopped) facts.className = 'failed';
  const sentence =
    error instanceof NodeError ? error.message : 'the connection to the node is lost';
  setText(facts, stopped ? 'stopped' : sentence);
}

/**
 * @param {'user' | 'assistant'} role
 * @param {string} who
 */
function addMessage(role, who) {
  const root = copyOf('message-template');
  root.classList.add(role);
  setText(part(root, 'who'), who);
  messages.hidden = false;
  messages.append(root);
  messages.scrollTop = messages.scrollHeight;
  return root;
}

function showState() {
  const busy = answering !== null;
  element('send', HTMLButtonElement).disabled = busy;
  element('stop', HTMLButtonElement).disabled = !busy;
  element('clear', HTMLButtonElement).disabled = busy || messages.children.length === 0;
  messages.hidden = messages.children.length === 0;
}
