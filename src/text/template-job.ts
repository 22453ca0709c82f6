import { ControlTokenFinder } from './control-tokens.ts';
import { MarkedText } from './jinja/marked-text.ts';
import { Template } from './jinja/template.ts';
import { Dict, fromJson, List, text as inside, type Value } from './jinja/values.ts';

/** What a template is rendered with. */
export interface TemplateJob {
  /** The Jinja source. */
  readonly template: string;
  readonly messages: readonly unknown[];
  readonly tools: readonly unknown[] | null;
  readonly addGenerationPrompt: boolean;
  /** The model's own: bos_token and the like. What they hold counts as the template's text. */
  readonly variables: Readonly<Record<string, unknown>>;
  /** Further ones that came with the request: a stranger's text, as messages are. */
  readonly requestVariables?: Readonly<Record<string, unknown>>;
  /** Control tokens that an assistant's message may hold, because the model itself wrote them. */
  readonly assistantTokens?: readonly string[];
  /** ISO date and time for strftime_now, which prints it as it stands, whatever its zone. */
  readonly now: string;
}

export interface RenderedTemplate {
  readonly text: string;
  /** Parts that came from outside the template: sorted [start, end) pairs in UTF-16 units, flat. */
  readonly outside: readonly number[];
}

/** Templates of the last models used: parsing is most of the work of a short chat. */
const parsed = new Map<string, Template>();
const parsedMax = 8;

/**
 * Renders as transformers' apply_chat_template does. Throws `template_invalid`, `template_failed`,
 * `template_refused`, `template_too_large`, `bad_time`.
 */
export function renderTemplate(job: TemplateJob): RenderedTemplate {
  const template = parsed.get(job.template) ?? new Template(job.template);
  parsed.delete(job.template);
  parsed.set(job.template, template);
  if (parsed.size > parsedMax) parsed.delete(parsed.keys().next().value ?? '');
  const finder = new ControlTokenFinder(job.assistantTokens ?? []);
  const variables: [string, Value][] = [
    ['documents', null],
    ...values(job.variables, inside),
    ...values(job.requestVariables ?? {}, outside),
    ['messages', new List(job.messages.map((message) => messageValue(message, finder)))],
    ['tools', fromJson(job.tools, outside)],
    ['add_generation_prompt', job.addGenerationPrompt],
  ];
  const { text, marks } = template.render(new Map(variables), job.now);
  return { text, outside: marks };
}

function outside(text: string): MarkedText {
  return MarkedText.outside(text);
}

function values(
  json: Readonly<Record<string, unknown>>,
  toText: (text: string) => MarkedText,
): [string, Value][] {
  return Object.entries(json).map(([name, value]) => [name, fromJson(value, toText)]);
}

/** Roles that some templates make control tokens of (`'<|' + role + '|>'`); any other is text. */
const roles = new Set(['system', 'developer', 'user', 'assistant', 'tool', 'function']);

function messageValue(message: unknown, assistantTokens: ControlTokenFinder): Value {
  const role = typeof message === 'object' && message !== null && Reflect.get(message, 'role');
  const value = fromJson(message, role === 'assistant' ? fromAssistant : outside);
  if (value instanceof Dict && typeof role === 'string' && roles.has(role)) {
    value.set(inside('role'), inside(role));
  }
  return value;

  function fromAssistant(text: string): MarkedText {
    const own = assistantTokens.find(text, () => true);
    const marked = outside(text);
    return own.length === 0
      ? marked
      : marked.withoutMarks(own.flatMap(({ start, end }) => [start, end]));
  }
}
