import { createInterface, type Interface } from 'node:readline';
import type { Readable } from 'node:stream';
import { CideryError } from '../base/error.ts';
import { type Answerer, type AnswerOptions, type Message, speedLine } from './answerer.ts';
import type { CommandContext } from './context.ts';
import { errorLine } from './report-error.ts';

const help = [
  '/clear  forget the conversation',
  '/help   this list',
  '/exit   leave (as Ctrl-D does)',
  '//text  say /text',
  'Ctrl-C  stop an answer; at an empty prompt, leave',
];

/**
 * A conversation on `input`, a line a turn, with all that was said before. Ends at /exit, at the
 * end of input, and at Ctrl-C while nothing is being answered or typed.
 */
export async function chat(
  context: CommandContext,
  answerer: Answerer,
  options: AnswerOptions,
  system: readonly Message[],
  input: Readable & { readonly isTTY?: boolean },
): Promise<void> {
  const terminal = input.isTTY === true;
  const lines = createInterface({
    input,
    ...(terminal ? { output: process.stderr, terminal } : {}),
    prompt: '> ',
  });
  const conversation = new Conversation(context, answerer, options, system);
  const onAbort = () => lines.close();
  context.signal.addEventListener('abort', onAbort, { once: true });
  lines.on('SIGINT', () => onInterrupt(lines, conversation));
  try {
    if (terminal) context.output.note('/help lists what can be typed');
    const ask = () => {
      if (terminal) lines.prompt();
    };
    ask();
    for await (const line of lines) {
      const text = line.trim();
      if (text === '/exit') break;
      if (text === '/clear') conversation.clear();
      else if (/^\/(?!\/)/.test(text)) noteHelp(context, text);
      else if (text !== '') await conversation.say(text.replace(/^\/\//, '/'));
      context.signal.throwIfAborted();
      ask();
    }
    context.signal.throwIfAborted();
  } finally {
    context.signal.removeEventListener('abort', onAbort);
    lines.close();
  }
}

/** What a command that is none is answered with, too: nobody means it for the model. */
function noteHelp({ output }: CommandContext, command: string): void {
  if (command !== '/help') output.note(`there is no command ${command}; there are:`);
  for (const entry of help) output.note(entry);
}

/** Ctrl-C in a terminal, where the line editor gets the key and no signal is sent. */
function onInterrupt(lines: Interface, conversation: Conversation): void {
  if (conversation.stopAnswer()) return;
  if (lines.line === '') {
    lines.close();
    return;
  }
  // Away with what was typed, as in a shell.
  lines.write(null, { ctrl: true, name: 'e' });
  lines.write(null, { ctrl: true, name: 'u' });
}

class Conversation {
  readonly #context: CommandContext;
  readonly #answerer: Answerer;
  readonly #options: AnswerOptions;
  readonly #system: readonly Message[];
  #messages: readonly Message[];
  #stop: AbortController | null = null;

  constructor(
    context: CommandContext,
    answerer: Answerer,
    options: AnswerOptions,
    system: readonly Message[],
  ) {
    this.#context = context;
    this.#answerer = answerer;
    this.#options = options;
    this.#system = system;
    this.#messages = system;
  }

  clear(): void {
    this.#messages = this.#system;
  }

  /** True when an answer was under way. */
  stopAnswer(): boolean {
    if (this.#stop === null) return false;
    this.#stop.abort(new CideryError('cancelled', 'the answer was stopped'));
    return true;
  }

  /**
   * Answers one turn. What came of a stopped answer stays in the conversation; a turn that failed
   * does not.
   */
  async say(text: string): Promise<void> {
    const { output, signal } = this.#context;
    const stop = new AbortController();
    this.#stop = stop;
    const messages: readonly Message[] = [...this.#messages, { role: 'user', content: text }];
    let said = '';
    try {
      const answer = await this.#answerer.answer(
        { kind: 'chat', messages },
        this.#options,
        (piece) => {
          said += piece;
          output.text(piece);
        },
        AbortSignal.any([signal, stop.signal]),
      );
      output.line('');
      if (output.interactive) output.note(speedLine(answer));
    } catch (error) {
      signal.throwIfAborted();
      output.line('');
      output.note(stop.signal.aborted ? '(stopped)' : errorLine(error));
      if (!stop.signal.aborted) return;
    } finally {
      this.#stop = null;
    }
    this.#messages = [...messages, { role: 'assistant', content: said }];
  }
}
