import { MarkedText } from './jinja/marked-text.ts';
import { Template } from './jinja/template.ts';
import { fromJson, type Value } from './jinja/values.ts';

/** What a template is rendered with. */
export interface TemplateJob {
  /** The Jinja source. */
  readonly template: string;
  readonly messages: readonly unknown[];
  readonly tools: readonly unknown[] | null;
  readonly addGenerationPrompt: boolean;
  /** The model's own: bos_token and the like. What they hold counts as the template's text. */
  readonly variables: Readonly<Record<string, unknown>>;
  /** ISO date and time for strftime_now. */
  readonly now: string;
}

export interface RenderedTemplate {
  readonly text: string;
  /** Parts of the text that came from messages and tools: sorted, disjoint [start, end) pairs in UTF-16 units, flat. */
  readonly outside: readonly number[];
}

const inside = (text: string) => MarkedText.inside(text);
const outside = (text: string) => MarkedText.outside(text);

/** Templates of the last models used: parsing is most of the work of a short chat. */
const parsed = new Map<string, Template>();
const parsedMax = 8;

/** Throws `template_syntax`, `template_failed`, `template_refused`, `template_too_large`. */
export function renderTemplate(job: TemplateJob): RenderedTemplate {
  const template = parsed.get(job.template) ?? new Template(job.template);
  parsed.delete(job.template);
  parsed.set(job.template, template);
  if (parsed.size > parsedMax) parsed.delete(parsed.keys().next().value ?? '');
  const own = Object.entries(job.variables).map(([name, value]): [string, Value] => [
    name,
    fromJson(value, inside),
  ]);
  const foreign = (value: unknown): Value => fromJson(value, outside);
  const { text, marks } = template.render(
    new Map([
      ...own,
      ['messages', foreign(job.messages)],
      ['tools', foreign(job.tools)],
      ['add_generation_prompt', fromJson(job.addGenerationPrompt, inside)],
    ]),
    job.now,
  );
  return { text, outside: marks };
}
