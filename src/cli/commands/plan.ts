import { CideryError } from '../../base/error.ts';
import { openNode } from '../../node/open-node.ts';
import { type CommandContext, type EngineFlags, nodeSettings } from '../context.ts';
import { requireModel } from '../local-models.ts';
import { formatBytes } from '../output.ts';

/** `cidery plan M`: the one plan of one machine, from config and headers alone. */
export async function plan(
  context: CommandContext,
  reference: string,
  flags: EngineFlags & { readonly machines?: string },
): Promise<void> {
  if (flags.machines !== undefined) {
    throw new CideryError('unsupported', 'this version plans for this machine alone', {
      hint: 'leave out --machines',
    });
  }
  const node = await openNode(nodeSettings(context, flags));
  try {
    const { id } = await requireModel(context, node.library, reference, 'catalogue');
    const asked = flags.context === undefined ? {} : { context: flags.context };
    const found = await node.plans({ model: id, ...asked });
    context.output.value(found);
    context.output.line(`${id}, context ${found.context}, on this machine alone:`);
    for (const { memory, chosen } of found.plans) {
      context.output.line(`  weights     ${formatBytes(memory.weightBytes)}`);
      context.output.line(`  keys/values ${formatBytes(memory.cacheBytes)}`);
      context.output.line(`  working     ${formatBytes(memory.workingBytes)}`);
      const verdict = chosen ? 'fits' : 'does not fit';
      context.output.line(
        `  ${formatBytes(memory.neededBytes)} of ${formatBytes(memory.freeBytes)} free: ${verdict}`,
      );
    }
    context.output.line('  speed: not measured (`cidery bench` measures it)');
  } finally {
    await node.close();
  }
}
