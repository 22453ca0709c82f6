import { createDetokenizer } from '../text/detokenizer.ts';
import { Tokenizer } from '../text/tokenizer.ts';
import type { Json, TextOperation } from './protocol.ts';
import { chatTemplates, readTokenizer, wallTime } from './request-text.ts';

/** Tokenizers stay loaded between operations; a handful is what a session of `debug` uses. */
const loaded = new Map<string, Tokenizer>();
const loadedMax = 4;

/** `debug`'s operations on text. */
export async function runTextOperation(operation: TextOperation): Promise<Record<string, Json>> {
  switch (operation.op) {
    case 'tokenize': {
      const tokenizer = await tokenizerAt(operation.tokenizer);
      return { ids: await tokenizer.encode(operation.text, operation.special) };
    }
    case 'detokenize':
      return detokenize(
        await tokenizerAt(operation.tokenizer),
        operation.ids,
        operation.skipSpecial,
      );
    case 'render': {
      const { template, messages, tools, addGenerationPrompt, variables, now } = operation;
      const rendered = await chatTemplates.render({
        template,
        messages,
        tools,
        addGenerationPrompt,
        variables,
        now: now ?? wallTime(),
      });
      return { text: rendered.text };
    }
  }
}

function detokenize(tokenizer: Tokenizer, ids: readonly number[], skipSpecial: boolean) {
  const detokenizer = createDetokenizer(tokenizer, skipSpecial);
  const pieces = ids.map((id) => detokenizer.push(id));
  pieces.push(detokenizer.finish());
  const shown = pieces.filter((piece) => piece !== '');
  return { text: shown.join(''), pieces: shown };
}

async function tokenizerAt(path: string): Promise<Tokenizer> {
  const known = loaded.get(path);
  if (known !== undefined) return known;
  const tokenizer = new Tokenizer(await readTokenizer(path));
  loaded.set(path, tokenizer);
  if (loaded.size > loadedMax) loaded.delete(loaded.keys().next().value ?? '');
  return tokenizer;
}
