import { z } from 'zod';
import { CideryError, errorCode, errorMessage } from '../../src/base/error.ts';
import { loadAddon } from '../../src/engine/load-addon.ts';

// A rank of a test, in a process of its own: calls the addon's functions as its parent says.
const callSchema = z.object({ id: z.int(), name: z.string(), args: z.array(z.unknown()) });
const functionSchema = z.custom<(...args: unknown[]) => unknown>((value) => {
  return typeof value === 'function';
});
const functions = z
  .record(z.string(), functionSchema)
  .parse(loadAddon(z.enum(['cpu', 'mlx', 'ring']).parse(process.argv[2])));

async function answer(call: z.infer<typeof callSchema>): Promise<object> {
  const { id, name, args } = call;
  try {
    const named = functions[name];
    if (named === undefined) throw new CideryError('internal', `the addon has no ${name}`);
    return { kind: 'value', id, value: await named(...args) };
  } catch (error) {
    return { kind: 'error', id, code: errorCode(error), message: errorMessage(error) };
  }
}

process.on('message', (message) => {
  void answer(callSchema.parse(message)).then((reply) => process.send?.(reply));
});
