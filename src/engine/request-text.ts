import { readFile, stat } from 'node:fs/promises';
import { CideryError } from '../base/error.ts';
import { limits } from '../base/limits.ts';
import type { ModelText } from '../model/manifest.ts';
import { ChatTemplates } from '../text/chat-templates.ts';
import { TextModel } from '../text/text-model.ts';
import type { PromptInput } from './protocol.ts';
import type { RequestText } from './request.ts';

/** The thread's script, also where this runs from its TypeScript sources. */
export const chatTemplates = new ChatTemplates(
  new URL('../text/template-worker.js', import.meta.url),
);

/**
 * What the clock on this machine's wall shows, in ISO form: what templates print, as transformers
 * has it.
 */
export function wallTime(): string {
  const now = new Date();
  return new Date(now.getTime() - now.getTimezoneOffset() * 60_000).toISOString();
}

/** Reads a tokenizer.json. Throws `tokenizer_missing`, `tokenizer_invalid`. */
export async function readTokenizer(path: string): Promise<string> {
  const size = await stat(path).then(
    (facts) => facts.size,
    (cause: unknown) => {
      throw new CideryError('tokenizer_missing', `there is no tokenizer at ${path}`, { cause });
    },
  );
  if (size > limits.tokenizerMaxBytes) {
    throw new CideryError('tokenizer_invalid', `${path} has ${size} bytes`, {
      hint: `a tokenizer.json has at most ${limits.tokenizerMaxBytes}`,
    });
  }
  return readFile(path, 'utf8');
}

/**
 * The text side of a model for its requests; a model without a tokenizer takes and gives ids alone.
 */
export async function openRequestText(text: ModelText): Promise<RequestText> {
  if (text.tokenizerPath === null) return idsOnly(new Set(text.eosIds));
  const json = await readTokenizer(text.tokenizerPath);
  const model = new TextModel(text, json, chatTemplates, wallTime);
  return {
    promptIds: (input, signal) => promptIds(model, input, signal),
    detokenizer: (skipSpecial) => model.detokenizer(skipSpecial),
    stopMatcher: (stops) => model.stopMatcher(stops),
    tokenText: (id) => model.tokenText(id),
    eosIds: model.eosIds,
  };
}

async function promptIds(
  model: TextModel,
  input: PromptInput,
  signal: AbortSignal,
): Promise<readonly number[]> {
  switch (input.kind) {
    case 'chat':
      return model.chatIds(input, signal);
    case 'text':
      return model.textIds(input.text, input.special);
    case 'ids':
      return input.ids;
  }
}

function idsOnly(eosIds: ReadonlySet<number>): RequestText {
  return {
    promptIds: async (input) => {
      if (input.kind === 'ids') return input.ids;
      throw new CideryError('tokenizer_missing', 'this model has no tokenizer.json', {
        hint: 'put the tokenizer.json of the model into its folder',
      });
    },
    detokenizer: () => ({ push: () => '', finish: () => '' }),
    stopMatcher: () => ({ push: (text) => ({ text, stop: null }), finish: () => '' }),
    tokenText: () => '',
    eosIds,
  };
}
